// Does nothing: its cold start is the runtime's own.
let firstCall = true;

export const handler = async () => {
  const isFirstCall = firstCall;
  firstCall = false;
  return { first_call: isFirstCall };
};
