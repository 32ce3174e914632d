// Does what the event says, then answers with what it sees.
let calls = 0;

export async function handler(event, context) {
  calls += 1;
  if (event.print) console.log(event.print);
  if (event.sleep) await new Promise((done) => setTimeout(done, event.sleep * 1000));
  if (event.exit) process.exit(event.exit);
  if (event.raise) throw new RangeError(event.raise);
  return { event, calls, pid: process.pid, request_id: context.awsRequestId, arn: context.invokedFunctionArn };
}
