"""The local Lambda service: AWS's Lambda API in front of real execution environments.

An HTTP connection (`http`) carries a request to the Lambda API (`api`), which asks the `service`
for a free execution environment (`environment`): a process of AWS's own runtime interface client
(`runtimes`) under the CPU share of its memory size (`cpu`). What functions there are is read from
built SAM templates (`template`); what an invocation logs is worded in `logs`.

Everything listens on 127.0.0.1 only. What is not as on AWS: an init gets no more CPU than the
memory size gives (AWS lends it some), memory is reported but not limited, an idle environment is
not frozen, an asynchronous invocation that fails is not retried, and an answer leaves as soon as
the function has given it.
"""
