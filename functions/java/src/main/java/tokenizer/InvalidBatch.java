package tokenizer;

/** The event is not a batch of sentences. */
public final class InvalidBatch extends RuntimeException {
    InvalidBatch(String message) {
        super(message);
    }
}
