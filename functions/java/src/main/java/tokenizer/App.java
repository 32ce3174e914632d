package tokenizer;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/**
 * The Lambda handler in Java. The event, the answer and the errors are in CONTRACT.md.
 *
 * <p>Reads and writes JSON itself: a JSON library would be most of the cold start.
 */
public final class App implements RequestStreamHandler {
    private static final String RUNTIME = System.getProperty("java.version");

    private static boolean firstCall = true;

    @Override
    public void handleRequest(InputStream input, OutputStream output, Context context)
            throws IOException {
        boolean isFirstCall = firstCall;
        firstCall = false;
        Batch batch = Batch.parse(input.readAllBytes());
        String[] tokens = new String[batch.sentences.length];
        long started = System.nanoTime();
        for (int i = 0; i < tokens.length; i++) {
            String sentence = batch.sentences[i];
            tokens[i] = batch.subwords ? Subwords.subwords(sentence) : Words.tokenize(sentence);
        }
        write(output, tokens, System.nanoTime() - started, isFirstCall, batch.id);
    }

    /**
     * Writes the answer. Letters, marks, numbers, spaces and `#` need no escapes in JSON; the id is
     * JSON already.
     */
    static void write(
            OutputStream output, String[] tokens, long computeNs, boolean isFirstCall, byte[] id)
            throws IOException {
        ByteArrayOutputStream json = new ByteArrayOutputStream(1024 + 64 * tokens.length);
        json.writeBytes("{\"tokens\":[".getBytes(ISO_8859_1));
        for (int i = 0; i < tokens.length; i++) {
            if (i > 0) json.write(',');
            json.write('"');
            json.writeBytes(tokens[i].getBytes(UTF_8));
            json.write('"');
        }
        json.writeBytes("],\"compute_ns\":".getBytes(ISO_8859_1));
        json.writeBytes(Long.toString(computeNs).getBytes(ISO_8859_1));
        json.writeBytes(",\"first_call\":".getBytes(ISO_8859_1));
        json.writeBytes(Boolean.toString(isFirstCall).getBytes(ISO_8859_1));
        json.writeBytes(",\"language\":\"java\",\"runtime\":\"".getBytes(ISO_8859_1));
        json.writeBytes(RUNTIME.getBytes(ISO_8859_1));
        json.writeBytes("\"".getBytes(ISO_8859_1));
        if (id != null) {
            json.writeBytes(",\"id\":".getBytes(ISO_8859_1));
            json.writeBytes(id);
        }
        json.write('}');
        json.writeTo(output);
    }
}
