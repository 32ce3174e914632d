"""Enough of AWS for an unmodified `sam deploy` and AWS CLI, on this machine.

moto answers for CloudFormation, S3, IAM, STS and CloudWatch Logs; the SAM transform is the one that
AWS runs (samtranslator); what Lambda runs, runs in `bench.lambdas.local`.
"""

import os

from bench.lambdas.local.api import ACCOUNT
from bench.lambdas.local.runtimes import REGION

# What the libraries take from the process that they are in: moto its account, when it is imported,
# and samtranslator the region that a template is transformed for.
os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT
os.environ["AWS_DEFAULT_REGION"] = REGION
