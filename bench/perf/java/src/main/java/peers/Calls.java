package peers;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.URI;
import java.util.ArrayList;
import java.util.Map;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.lambda.LambdaAsyncClient;

/**
 * Calls a function through the SDK's asynchronous client and Jackson, for the CPU time that it takes.
 *
 * <p>Arguments: endpoint, function, files of events. Reads lines of an event's number and a number
 * of calls; makes them one after another and answers each line with the number of calls.
 */
public final class Calls {
    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        var events = new ArrayList<Map<?, ?>>();
        for (int file = 2; file < arguments.length; file++) {
            events.add(json.readValue(new File(arguments[file]), Map.class));
        }
        var orders = new BufferedReader(new InputStreamReader(System.in));
        try (LambdaAsyncClient client = client(arguments[0])) {
            for (String line = orders.readLine(); line != null; line = orders.readLine()) {
                String[] order = line.split(" ");
                Map<?, ?> event = events.get(Integer.parseInt(order[0]));
                for (int call = Integer.parseInt(order[1]); call > 0; call--) {
                    SdkBytes payload = SdkBytes.fromByteArrayUnsafe(json.writeValueAsBytes(event));
                    JsonNode answer = client
                            .invoke(request -> request.functionName(arguments[1]).payload(payload))
                            .thenApply(response -> read(json, response.payload()))
                            .join();
                    if (!answer.has("tokens")) {
                        throw new IllegalStateException(answer.toString());
                    }
                }
                System.out.println(order[1]);
            }
        }
    }

    static LambdaAsyncClient client(String endpoint) {
        return LambdaAsyncClient.builder()
                .endpointOverride(URI.create(endpoint))
                .region(Region.US_EAST_1)
                .credentialsProvider(
                        StaticCredentialsProvider.create(AwsBasicCredentials.create("local", "local")))
                .build();
    }

    static JsonNode read(ObjectMapper json, SdkBytes payload) {
        try {
            return json.readTree(payload.asByteArrayUnsafe());
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
