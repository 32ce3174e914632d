export const lambdaHandler = async (event, context) => {
  console.log("asked for", event.who);
  const message = `${process.env.GREETING} ${event.who}, ${process.env.LOUD}`;
  return { statusCode: 200, body: JSON.stringify({ message, arn: context.invokedFunctionArn }) };
};
