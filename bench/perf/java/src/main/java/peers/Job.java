package peers;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.connector.source.lib.NumberSequenceSource;
import org.apache.flink.streaming.api.datastream.AsyncDataStream;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.async.ResultFuture;
import org.apache.flink.streaming.api.functions.async.RichAsyncFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.lambda.LambdaAsyncClient;

/**
 * A Java job that has every batch done by a function, by Flink's AsyncFunction and AWS's SDK.
 *
 * <p>Arguments: endpoint, function, file of batches (each line a JSON array of sentences), calls in
 * flight. The batches are taken over and over again until the job is cancelled; tokens go one by one
 * to a sink that discards them. Source, flatmap and sink have the slots that those of ours have.
 */
public final class Job {
    private static final long TIMEOUT_MS = 60_000;

    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.setParallelism(1);
        env.enableCheckpointing(1000);
        env.setBufferTimeout(5);
        DataStream<String> batches = env
                .fromSource(new NumberSequenceSource(0, Long.MAX_VALUE - 1),
                        WatermarkStrategy.noWatermarks(), "sequence")
                .map(new Batches(arguments[2]))
                .name("source");
        AsyncDataStream
                .unorderedWait(batches, new Invoke(arguments[0], arguments[1]), TIMEOUT_MS,
                        TimeUnit.MILLISECONDS, Integer.parseInt(arguments[3]))
                .slotSharingGroup("tokenizer")
                .name("tokenizer")
                .sinkTo(new DiscardingSink<>())
                .slotSharingGroup("default")
                .name("sink");
        env.execute("Java AsyncFunction");
    }

    /** The n-th line of a file, again and again. */
    private static final class Batches extends RichMapFunction<Long, String> {
        private final String file;
        private transient List<String> lines;

        Batches(String file) {
            this.file = file;
        }

        @Override
        public void open(OpenContext context) throws Exception {
            lines = Files.readAllLines(Path.of(file));
        }

        @Override
        public String map(Long number) {
            return lines.get((int) (number % lines.size()));
        }
    }

    /** A batch to its tokens, by a function. */
    private static final class Invoke extends RichAsyncFunction<String, String> {
        private final String endpoint;
        private final String function;
        private transient LambdaAsyncClient client;
        private transient ObjectMapper json;

        Invoke(String endpoint, String function) {
            this.endpoint = endpoint;
            this.function = function;
        }

        @Override
        public void open(OpenContext context) {
            client = Calls.client(endpoint);
            json = new ObjectMapper();
        }

        @Override
        public void close() {
            client.close();
        }

        @Override
        public void asyncInvoke(String batch, ResultFuture<String> tokens) {
            byte[] event = ("{\"sentences\":" + batch + "}").getBytes(StandardCharsets.UTF_8);
            client.invoke(request -> request
                            .functionName(function)
                            .payload(SdkBytes.fromByteArrayUnsafe(event)))
                    .thenApply(response -> split(Calls.read(json, response.payload())))
                    .whenComplete((all, error) -> {
                        if (error == null) {
                            tokens.complete(all);
                        } else {
                            tokens.completeExceptionally(error);
                        }
                    });
        }

        private static List<String> split(JsonNode answer) {
            var tokens = new ArrayList<String>();
            for (JsonNode entry : answer.required("tokens")) {
                if (!entry.textValue().isEmpty()) {
                    tokens.addAll(Arrays.asList(entry.textValue().split(" ")));
                }
            }
            return tokens;
        }
    }
}
