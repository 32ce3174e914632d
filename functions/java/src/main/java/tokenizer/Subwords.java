package tokenizer;

/** The operator subwords of CONTRACT.md: byte-pair encoding of tokens. */
final class Subwords {
    private static final int LONGEST = 64;
    private static final String CONTINUED = " ##";
    private static final Merges MERGES = new Merges();

    // Of the stretch that is being merged: symbol and end of each piece, its rank with the next one.
    private final int[] symbols = new int[LONGEST];
    private final int[] ends = new int[LONGEST];
    private final int[] ranks = new int[LONGEST];
    private int start;
    private int count;

    private final String tokens;
    private final StringBuilder out;

    private Subwords(String tokens) {
        this.tokens = tokens;
        this.out = new StringBuilder(2 * tokens.length());
    }

    /**
     * The pieces of a sentence's tokens, joined by single spaces; all but a token's first are marked.
     */
    static String subwords(String sentence) {
        return new Subwords(Words.tokenize(sentence)).split();
    }

    private String split() {
        for (int at = 0; at < tokens.length(); ) {
            int codePoint = tokens.codePointAt(at);
            if (codePoint == ' ') {
                merge();
                out.append(' ');
                start = ++at;
                continue;
            }
            if (count == LONGEST) {
                merge();
                out.append(CONTINUED);
                start = at;
            }
            at += Character.charCount(codePoint);
            symbols[count] = MERGES.symbol(codePoint);
            ends[count++] = at;
        }
        merge();
        return out.toString();
    }

    /** Merges the pair with the lowest rank, leftmost, until there is none; writes the pieces. */
    private void merge() {
        for (int i = 0; i < count - 1; i++) ranks[i] = MERGES.rank(symbols[i], symbols[i + 1]);
        for (int at = lowest(); at >= 0; at = lowest()) {
            symbols[at] = MERGES.made(ranks[at]);
            count--;
            for (int i = at + 1; i < count; i++) symbols[i] = symbols[i + 1];
            for (int i = at; i < count; i++) ends[i] = ends[i + 1];
            for (int i = at; i < count - 1; i++) ranks[i] = ranks[i + 1];
            if (at > 0) ranks[at - 1] = MERGES.rank(symbols[at - 1], symbols[at]);
            if (at < count - 1) ranks[at] = MERGES.rank(symbols[at], symbols[at + 1]);
        }
        for (int i = 0; i < count; i++) {
            if (i > 0) out.append(CONTINUED);
            out.append(tokens, i > 0 ? ends[i - 1] : start, ends[i]);
        }
        count = 0;
    }

    /** Where the pair with the lowest rank is, the leftmost of them; -1 if none can be merged. */
    private int lowest() {
        int at = -1;
        int lowest = Merges.NEVER;
        for (int i = 0; i < count - 1; i++) {
            if (ranks[i] < lowest) {
                lowest = ranks[i];
                at = i;
            }
        }
        return at;
    }
}
