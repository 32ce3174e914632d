"""The local Lambda service: AWS's Lambda API in front of real execution environments.

An HTTP connection (`http`) carries a request to the Lambda API (`api`), which asks the `service`
for a free execution environment (`environment`): a process of AWS's own runtime interface client
(`runtimes`) under the CPU share of its memory size (`cpu`), with a /tmp of its own (`storage`).
Asynchronous calls wait in a queue (`events`). What functions there are is read from built SAM
templates (`template`, by a `reader` that is a process of its own), what may be changed of them is
said in `configuration`, what an invocation logs is worded in `logs`. On demand, `emulation` adds
what AWS would: network, placement, init.

Everything listens on 127.0.0.1 only. What is not as on AWS stands in the README, "What a local run
means, and what it does not".
"""
