package tokenizer;

import java.util.Arrays;
import java.util.StringTokenizer;

/**
 * The token rule for every code point.
 *
 * <p>A class of its own so that it is made at the first sentence that is not ASCII, and a cold start
 * without one does not pay for it.
 */
final class UnicodeTable {
    private static final int SELF = 0x110000;

    /** By code point: 0 for separators, otherwise SELF + the distance to its lower case. */
    private static final int[] TABLE = table();

    private UnicodeTable() {}

    /** The lower case of a code point of a token, 0 for separators. */
    static int lower(int codePoint) {
        int entry = TABLE[codePoint];
        return entry == 0 ? 0 : codePoint + entry - SELF;
    }

    private static int[] table() {
        int[] table = new int[0x110000];
        StringTokenizer tokens = new StringTokenizer(UnicodeData.TOKENS);
        for (int end = 0; tokens.hasMoreTokens(); ) {
            int first = end + next(tokens);
            end = first + next(tokens);
            Arrays.fill(table, first, end, SELF);
        }
        StringTokenizer lower = new StringTokenizer(UnicodeData.LOWER);
        while (lower.hasMoreTokens()) {
            int codePoint = next(lower);
            int count = next(lower);
            int step = next(lower);
            int delta = next(lower);
            for (int i = 0; i < count; i++, codePoint += step) table[codePoint] += delta;
        }
        return table;
    }

    private static int next(StringTokenizer numbers) {
        return Integer.parseInt(numbers.nextToken());
    }
}
