package tokenizer;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.HashMap;

/**
 * The merges of the operator subwords, from merges.txt.
 *
 * <p>A piece is a number here, its symbol; 0 is a code point that is in no merge.
 */
final class Merges {
    static final int NEVER = Integer.MAX_VALUE;

    private static final int SYMBOL_BITS = 13;
    private static final int SLOT_BITS = 14; // more than twice as many slots as merges
    private static final int FREE = -1;
    private static final int SCATTER = 0x9E3779B1; // 2^32 / golden ratio: Fibonacci hashing

    private final char[] symbols = new char[0x110000]; // by code point
    private final char[] made = new char[1 << SYMBOL_BITS]; // symbols, by rank
    // An open hash table, since HashMap would make objects of its numbers.
    private final int[] keys = new int[1 << SLOT_BITS]; // left symbol, right symbol
    private final int[] ranks = new int[1 << SLOT_BITS];

    /** Reads the merges. Takes milliseconds: so not before subwords are asked for. */
    Merges() {
        // Pieces stay as they are in the file, a char for each byte of UTF-8: decoding them all
        // would take as long as everything else.
        String text = read();
        HashMap<String, Integer> known = new HashMap<>(1 << SLOT_BITS);
        Arrays.fill(keys, FREE);
        for (int rank = 0, start = 0, end; start < text.length(); rank++, start = end + 1) {
            int space = text.indexOf(' ', start);
            end = text.indexOf('\n', space);
            String left = text.substring(start, space);
            String right = text.substring(space + 1, end);
            int key = symbol(known, left) << SYMBOL_BITS | symbol(known, right);
            int slot = slot(key);
            keys[slot] = key;
            ranks[slot] = rank;
            made[rank] = (char) (known.size() + 1);
            known.put(left.concat(right), known.size() + 1); // `+` would take ms to link
        }
    }

    int symbol(int codePoint) {
        return symbols[codePoint];
    }

    /** The rank of the merge of two pieces, NEVER if there is none. */
    int rank(int left, int right) {
        int slot = slot(left << SYMBOL_BITS | right);
        return keys[slot] == FREE ? NEVER : ranks[slot];
    }

    /** The symbol that a merge makes. */
    int made(int rank) {
        return made[rank];
    }

    /** Where a key is, or would be. */
    private int slot(int key) {
        int slot = key * SCATTER >>> 32 - SLOT_BITS;
        while (keys[slot] != key && keys[slot] != FREE) slot = (slot + 1) % keys.length;
        return slot;
    }

    /** What a merge takes was made by an earlier one, or is a code point. */
    private int symbol(HashMap<String, Integer> known, String piece) {
        Integer found = known.get(piece);
        if (found != null) return found;
        int symbol = known.size() + 1;
        known.put(piece, symbol);
        symbols[new String(piece.getBytes(ISO_8859_1), UTF_8).codePointAt(0)] = (char) symbol;
        return symbol;
    }

    private static String read() {
        try (InputStream merges = Merges.class.getResourceAsStream("merges.txt")) {
            return new String(merges.readAllBytes(), ISO_8859_1);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
