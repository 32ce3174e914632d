package hello;

import java.util.Map;

public class App {
    public Map<String, Object> handleRequest(Map<String, Object> event) {
        System.out.println("asked for " + event.get("who"));
        String message = System.getenv("GREETING") + " " + event.get("who") + ", "
                + System.getenv("LOUD");
        return Map.of("statusCode", 200, "body", "{\"message\": \"" + message + "\"}");
    }
}
