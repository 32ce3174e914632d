import json
import os


def lambda_handler(event, context):
    print("asked for", event.get("who"))
    message = f"{os.environ['GREETING']} {event.get('who')}, {os.environ['LOUD']}"
    body = {"message": message, "arn": context.invoked_function_arn}
    return {"statusCode": 200, "body": json.dumps(body)}
