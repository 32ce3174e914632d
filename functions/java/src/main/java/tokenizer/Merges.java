package tokenizer;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.HashMap;

/**
 * The merges of the operator subwords, from merges.txt.
 *
 * <p>A piece is a number here, its symbol; 0 is a code point that is in no merge. A class of its own
 * so that it is read when subwords are first asked for, and a cold start without them does not pay
 * for it.
 */
final class Merges {
    static final int NEVER = Integer.MAX_VALUE;

    private static final int SYMBOL_BITS = 13;
    private static final int SLOT_BITS = 14; // more than twice as many slots as merges
    private static final int FREE = -1;
    private static final int SCATTER = 0x9E3779B1; // 2^32 / golden ratio: Fibonacci hashing

    private static final char[] SYMBOLS = new char[0x110000]; // by code point
    private static final char[] MADE; // symbol, by rank
    // An open hash table, since HashMap would make objects of its numbers.
    private static final int[] KEYS = new int[1 << SLOT_BITS]; // left symbol, right symbol
    private static final int[] RANKS = new int[1 << SLOT_BITS];

    static {
        String[] lines = read();
        MADE = new char[lines.length];
        Arrays.fill(KEYS, FREE);
        HashMap<String, Integer> known = new HashMap<>(4 * lines.length);
        for (int rank = 0; rank < lines.length; rank++) {
            int space = lines[rank].indexOf(' ');
            String left = lines[rank].substring(0, space);
            String right = lines[rank].substring(space + 1);
            int key = symbol(known, left) << SYMBOL_BITS | symbol(known, right);
            KEYS[slot(key)] = key;
            RANKS[slot(key)] = rank;
            MADE[rank] = (char) (known.size() + 1);
            known.put(left + right, known.size() + 1);
        }
    }

    private Merges() {}

    static int symbol(int codePoint) {
        return SYMBOLS[codePoint];
    }

    /** The rank of the merge of two pieces, NEVER if there is none. */
    static int rank(int left, int right) {
        int slot = slot(left << SYMBOL_BITS | right);
        return KEYS[slot] == FREE ? NEVER : RANKS[slot];
    }

    /** The symbol that a merge makes. */
    static int made(int rank) {
        return MADE[rank];
    }

    /** Where a key is, or would be. */
    private static int slot(int key) {
        int slot = key * SCATTER >>> 32 - SLOT_BITS;
        while (KEYS[slot] != key && KEYS[slot] != FREE) slot = (slot + 1) % KEYS.length;
        return slot;
    }

    /** What a merge takes was made by an earlier one, or is a code point. */
    private static int symbol(HashMap<String, Integer> known, String piece) {
        Integer found = known.get(piece);
        if (found != null) return found;
        int symbol = known.size() + 1;
        known.put(piece, symbol);
        SYMBOLS[piece.codePointAt(0)] = (char) symbol;
        return symbol;
    }

    private static String[] read() {
        try (InputStream merges = Merges.class.getResourceAsStream("merges.txt")) {
            return new String(merges.readAllBytes(), UTF_8).split("\n");
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
