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
    /** In pages of 256 code points, so that the many pages of separators only can be one. */
    private static final int[][] PAGES = pages();

    private UnicodeTable() {}

    /** The lower case of a code point of a token, 0 for separators. */
    static int lower(int codePoint) {
        return PAGES[codePoint >> 8][codePoint & 0xFF];
    }

    private static int[][] pages() {
        int[] separators = new int[256];
        int[][] pages = new int[0x1100][];
        Arrays.fill(pages, separators);
        StringTokenizer tokens = new StringTokenizer(UnicodeData.TOKENS);
        for (int codePoint = 0; tokens.hasMoreTokens(); ) {
            codePoint += next(tokens);
            for (int end = codePoint + next(tokens); codePoint < end; codePoint++) {
                int page = codePoint >> 8;
                if (pages[page] == separators) pages[page] = new int[256];
                pages[page][codePoint & 0xFF] = codePoint;
            }
        }
        StringTokenizer lower = new StringTokenizer(UnicodeData.LOWER);
        while (lower.hasMoreTokens()) {
            int codePoint = next(lower);
            int count = next(lower);
            int step = next(lower);
            int delta = next(lower);
            for (int i = 0; i < count; i++, codePoint += step) {
                pages[codePoint >> 8][codePoint & 0xFF] += delta;
            }
        }
        return pages;
    }

    private static int next(StringTokenizer numbers) {
        return Integer.parseInt(numbers.nextToken());
    }
}
