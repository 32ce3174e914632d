package burst;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.util.Collector;

/**
 * The sink's first step: tokens in, one line of JSON a batch out, with the moment at which the batch
 * was whole here, and one line a call.
 *
 * A sender emits a batch's tokens and then its closing record without a checkpoint barrier in
 * between. So a batch is whole in every checkpoint, and this operator needs no state to deliver it
 * exactly once, however many senders feed it.
 */
public final class Gather extends ProcessFunction<String, String> {
  private static final Path BOOT_ID = Path.of("/proc/sys/kernel/random/boot_id");

  private final String bootId;
  private final double offsetS;
  private transient Map<Character, StringBuilder> open;
  private transient long offsetUs;

  /** The clock of flink_job/clock.py: where the epoch is on this machine's monotonic clock. */
  public Gather(String bootId, double offsetS) {
    this.bootId = bootId;
    this.offsetS = offsetS;
  }

  @Override
  public void open(OpenContext context) throws IOException {
    open = new HashMap<>();
    String here = Files.exists(BOOT_ID) ? Files.readString(BOOT_ID).strip() : "";
    offsetUs =
        here.equals(bootId)
            ? Math.round(offsetS * 1e6)
            : System.currentTimeMillis() * 1000 - System.nanoTime() / 1000;
  }

  @Override
  public void processElement(String record, Context context, Collector<String> out) {
    char kind = record.charAt(1);
    if (kind == Split.CALL) {
      out.collect(record.substring(2));
      return;
    }
    StringBuilder tokens = open.computeIfAbsent(record.charAt(0), sender -> new StringBuilder());
    if (kind != Split.CLOSE) {
      tokens.append(tokens.isEmpty() ? "" : " ").append(record, 1, record.length());
      return;
    }
    long nowUs = System.nanoTime() / 1000 + offsetUs;
    // Neither a token nor a header needs escaping: see Split.
    out.collect("{\"sink_at_us\":" + nowUs + ",\"tokens\":\"" + tokens + "\"," + record.substring(3));
    tokens.setLength(0);
  }
}
