package hello;

import com.amazonaws.services.lambda.runtime.Context;
import java.util.Map;

public class App {
    public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
        System.out.println("asked for " + event.get("who"));
        String message = System.getenv("GREETING") + " " + event.get("who") + ", "
                + System.getenv("LOUD");
        String body = "{\"message\": \"" + message + "\", \"arn\": \""
                + context.getInvokedFunctionArn() + "\"}";
        return Map.of("statusCode", 200, "body", body);
    }
}
