package tokenizer;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

/** The operator words of CONTRACT.md: the token rule. */
final class Words {
    /** ASCII code point → lower case, 0 for separators. */
    private static final byte[] ASCII = ascii();

    private Words() {}

    /** The tokens of a sentence, in order, in lower case, joined by single spaces. */
    static String tokenize(String sentence) {
        int length = sentence.length();
        byte[] out = new byte[length];
        int end = 0;
        boolean separated = false;
        for (int i = 0; i < length; i++) {
            char unit = sentence.charAt(i);
            if (unit > 127) return tokenizeUnicode(sentence);
            byte lower = ASCII[unit];
            if (lower == 0) {
                separated = end > 0;
            } else {
                if (separated) out[end++] = ' ';
                separated = false;
                out[end++] = lower;
            }
        }
        return new String(out, 0, end, ISO_8859_1);
    }

    private static String tokenizeUnicode(String sentence) {
        char[] units = sentence.toCharArray();
        int end = 0; // what is done stays behind what is to do, so both fit into one array
        boolean separated = false;
        for (int i = 0; i < units.length; i++) {
            int codePoint = units[i];
            if (Character.isSurrogate(units[i])) {
                codePoint = Character.codePointAt(units, i);
                if (codePoint > 0xFFFF) i++;
            }
            int lower = UnicodeTable.lower(codePoint);
            if (lower == 0) {
                separated = end > 0;
                continue;
            }
            if (separated) units[end++] = ' ';
            separated = false;
            if (lower > 0xFFFF) {
                units[end++] = Character.highSurrogate(lower);
                units[end++] = Character.lowSurrogate(lower);
            } else {
                units[end++] = (char) lower;
            }
        }
        return new String(units, 0, end);
    }

    private static byte[] ascii() {
        byte[] lower = new byte[128];
        for (char c = '0'; c <= '9'; c++) lower[c] = (byte) c;
        for (char c = 'a'; c <= 'z'; c++) {
            lower[c] = (byte) c;
            lower[c - 'a' + 'A'] = (byte) c;
        }
        return lower;
    }
}
