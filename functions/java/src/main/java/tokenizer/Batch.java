package tokenizer;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Arrays;

/**
 * A valid event: sentences, the operator to apply to them, and what the answer is to echo.
 *
 * <p>Reads the event's JSON. Lambda passes on nothing but valid JSON, so its syntax is not checked
 * again; its content is.
 */
final class Batch {
    final String[] sentences;

    /** Whether the operator is `subwords`, not `words`. */
    final boolean subwords;

    /** The id as it came, a string in JSON; null if there is none. */
    final byte[] id;

    private Batch(String[] sentences, boolean subwords, byte[] id) {
        this.sentences = sentences;
        this.subwords = subwords;
        this.id = id;
    }

    /** @throws InvalidBatch if the event breaks the contract */
    static Batch parse(byte[] json) {
        return new Reader(json).batch();
    }

    private static final class Reader {
        private final byte[] json;
        private int at = 0;

        private boolean hasSentences = false;
        private ArrayList<String> sentences; // null: not a list
        private int notString; // index of the first sentence that is not a string, or -1
        private String operator = "words"; // null: not a string
        private byte[] id; // null: none, or not a string
        private boolean hasId = false;

        Reader(byte[] json) {
            this.json = json;
        }

        Batch batch() {
            if (next() != '{') throw new InvalidBatch("the event is not an object");
            readObject();
            if (!hasSentences) throw new InvalidBatch("the event has no sentences");
            if (sentences == null) throw new InvalidBatch("sentences is not a list");
            if (notString >= 0) {
                throw new InvalidBatch("sentence " + notString + " is not a string");
            }
            boolean subwords = "subwords".equals(operator);
            if (!subwords && !"words".equals(operator)) {
                throw new InvalidBatch("operator is neither words nor subwords");
            }
            if (hasId && id == null) throw new InvalidBatch("id is not a string");
            return new Batch(sentences.toArray(new String[0]), subwords, id);
        }

        /** Reads the members of the event. Of several with one name the last one counts. */
        private void readObject() {
            at++;
            while (next() != '}') {
                String name = readString();
                next();
                if (name.equals("sentences")) {
                    readSentences();
                } else if (name.equals("operator")) {
                    readOperator();
                } else if (name.equals("id")) {
                    readId();
                } else {
                    skipValue();
                }
            }
        }

        private void readSentences() {
            hasSentences = true;
            sentences = null;
            notString = -1;
            if (json[at] != '[') {
                skipValue();
                return;
            }
            sentences = new ArrayList<>();
            at++;
            while (next() != ']') {
                if (json[at] == '"') {
                    sentences.add(readString());
                } else {
                    if (notString < 0) notString = sentences.size();
                    skipValue();
                }
            }
            at++;
        }

        private void readOperator() {
            if (json[at] == '"') {
                operator = readString();
            } else {
                operator = null;
                skipValue();
            }
        }

        private void readId() {
            hasId = true;
            int start = at;
            boolean isString = json[at] == '"';
            skipValue();
            id = isString ? Arrays.copyOfRange(json, start, at) : null;
        }

        private void skipValue() {
            int depth = 0;
            do {
                switch (next()) {
                    case '"':
                        readString();
                        break;
                    case '{':
                    case '[':
                        depth++;
                        at++;
                        break;
                    case '}':
                    case ']':
                        depth--;
                        at++;
                        break;
                    default:
                        skipLiteral();
                }
            } while (depth > 0);
        }

        /** Skips a number, true, false or null. */
        private void skipLiteral() {
            while (json[at] > ' ' && json[at] != ',' && json[at] != ']' && json[at] != '}') at++;
        }

        private String readString() {
            int start = ++at;
            while (json[at] >= 0 && json[at] != '"' && json[at] != '\\') at++;
            if (json[at] == '"') return new String(json, start, at++ - start, ISO_8859_1);
            StringBuilder text = new StringBuilder();
            while (true) {
                while (json[at] != '"' && json[at] != '\\') at++;
                if (at > start) text.append(new String(json, start, at - start, UTF_8));
                if (json[at++] == '"') return text.toString();
                text.append(readEscape());
                start = at;
            }
        }

        private char readEscape() {
            byte c = json[at++];
            switch (c) {
                case 'b':
                    return '\b';
                case 'f':
                    return '\f';
                case 'n':
                    return '\n';
                case 'r':
                    return '\r';
                case 't':
                    return '\t';
                case 'u':
                    return (char) (hex() << 12 | hex() << 8 | hex() << 4 | hex());
                default:
                    return (char) c;
            }
        }

        private int hex() {
            int digit = json[at++];
            return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
        }

        /** The first byte of what comes next. Spaces, commas and colons only separate. */
        private byte next() {
            while (json[at] <= ' ' || json[at] == ',' || json[at] == ':') at++;
            return json[at];
        }
    }
}
