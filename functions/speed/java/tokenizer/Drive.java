package tokenizer;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Times the built Java function: Drive SECONDS PAYLOAD_FILE…
 *
 * <p>Prints, for each file, the median nanoseconds of the floor, of the handler, and the compute_ns.
 * Its lines are events that take turns: caches and branch predictors get used to one.
 * With 0 seconds there is one call, the first. In the package of the function, to read and write JSON as it does.
 */
final class Drive {
    public static void main(String[] arguments) throws IOException {
        double seconds = Double.parseDouble(arguments[0]);
        for (String file : Arrays.asList(arguments).subList(1, arguments.length)) {
            List<byte[]> payloads = new ArrayList<>();
            for (String line : Files.readAllLines(Path.of(file))) payloads.add(line.getBytes(UTF_8));
            ArrayList<long[]> samples = new ArrayList<>();
            long until = System.nanoTime() + (long) (2e9 * seconds); // the first half warms up
            do {
                byte[] payload = payloads.get(samples.size() % payloads.size());
                long t0 = System.nanoTime();
                floor(payload);
                long t1 = System.nanoTime();
                byte[] answer = ours(payload);
                long t2 = System.nanoTime();
                samples.add(new long[] {t1 - t0, t2 - t1, computeNs(answer)});
            } while (System.nanoTime() < until);
            System.out.println(
                    median(samples, 0) + " " + median(samples, 1) + " " + median(samples, 2));
        }
    }

    private static byte[] floor(byte[] payload) throws IOException {
        Batch batch = Batch.parse(payload);
        String[] tokens = new String[batch.sentences.length];
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = String.join(" ", batch.sentences[i].split(" "));
        }
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        App.write(answer, tokens, 0, false, null);
        return answer.toByteArray();
    }

    private static byte[] ours(byte[] payload) throws IOException {
        ByteArrayOutputStream answer = new ByteArrayOutputStream();
        new App().handleRequest(new ByteArrayInputStream(payload), answer, null);
        return answer.toByteArray();
    }

    private static long computeNs(byte[] answer) {
        String text = new String(answer);
        int start = text.lastIndexOf("\"compute_ns\":") + "\"compute_ns\":".length();
        return Long.parseLong(text.substring(start, text.indexOf(',', start)));
    }

    private static long median(ArrayList<long[]> samples, int column) {
        return samples.subList(samples.size() / 2, samples.size()).stream()
                .mapToLong(sample -> sample[column])
                .sorted()
                .toArray()[samples.size() / 4];
    }
}
