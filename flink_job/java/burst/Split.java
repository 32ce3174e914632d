package burst;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;

/**
 * The last step of the flatmap: one string a batch in, its tokens out, one by one, then a record that
 * closes the batch. A string crosses from Python to Java at the price of one token, so it is here,
 * in the same task, that a batch becomes many records.
 *
 * In: a JSON object (the batch's header), then one line a sentence, its tokens parted by spaces. Or
 * a JSON object alone, behind CALL: it goes on as it is.
 * Out: every record begins with the sender's tag, so that the records of several senders can be
 * told apart wherever they meet; then a token, CLOSE and the header with `token_counts` added, or
 * CALL and the object.
 */
public final class Split extends ProcessFunction<String, String> {
  /** Control characters ("record separator", "group separator"), which no token holds. */
  static final char CLOSE = '\u001e';
  static final char CALL = '\u001d';
  /** Tags are characters of the private use area, which no token holds either. */
  static final char FIRST_TAG = '\ue000';

  private final int firstSender;
  private transient String tag;

  /** @param firstSender number of the operator's first subtask among all that send */
  public Split(int firstSender) {
    this.firstSender = firstSender;
  }

  @Override
  public void open(OpenContext context) {
    int sender = firstSender + getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
    tag = String.valueOf((char) (FIRST_TAG + sender));
  }

  @Override
  public void processElement(String batch, Context context, Collector<String> out) {
    if (batch.charAt(0) == CALL) {
      out.collect(tag + batch);
      return;
    }
    int headerEnd = batch.indexOf('\n');
    StringBuilder counts = new StringBuilder();
    int length = batch.length();
    int count = 0;
    int start = headerEnd + 1;
    for (int i = start; i <= length; i++) {
      char c = i < length ? batch.charAt(i) : '\n';
      if (c != ' ' && c != '\n') continue;
      if (i > start) {
        out.collect(tag.concat(batch.substring(start, i)));
        count++;
      }
      start = i + 1;
      if (c == '\n') {
        counts.append(counts.isEmpty() ? "" : ",").append(count);
        count = 0;
      }
    }
    out.collect(
        tag + CLOSE + batch.substring(0, headerEnd - 1) + ",\"token_counts\":[" + counts + "]}");
  }
}
