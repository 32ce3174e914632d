package empty;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/** Does nothing: its cold start is the runtime's own. */
public final class App implements RequestStreamHandler {
    private static boolean firstCall = true;

    @Override
    public void handleRequest(InputStream input, OutputStream output, Context context)
            throws IOException {
        String answer = firstCall ? "{\"first_call\":true}" : "{\"first_call\":false}";
        firstCall = false;
        output.write(answer.getBytes(ISO_8859_1));
    }
}
