import org.agrona.DirectBuffer;
import org.agrona.MutableDirectBuffer;

/** Messages that follow from a seed: the first is the shortest, the second the longest. */
final class Content {
    private final long seed;
    private final int minimum;
    private final int maximum;

    Content(final long seed, final int minimum, final int maximum) {
        this.seed = seed;
        this.minimum = minimum;
        this.maximum = maximum;
    }

    static long mix(final long word) {
        long z = word + 0x9e3779b97f4a7c15L;
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }

    private long key(final long index) {
        return mix(seed ^ mix(index));
    }

    int length(final long index) {
        if (index < 2) {
            return index == 0 ? minimum : maximum;
        }
        return minimum + (int) Long.remainderUnsigned(key(index), maximum - minimum + 1);
    }

    int write(final long index, final MutableDirectBuffer target, final int offset) {
        final long key = key(index);
        final int length = length(index);
        for (int at = 0; at < length; at++) {
            final long word = mix(key + (at >>> 3));
            target.putByte(offset + at, (byte) (word >>> ((at & 7) * 8)));
        }
        return length;
    }

    void check(final long index, final DirectBuffer source, final int offset, final int length) {
        if (length != length(index)) {
            throw new IllegalStateException(
                "message " + index + " has length " + length + ", not " + length(index));
        }
        final long key = key(index);
        for (int at = 0; at < length; at++) {
            final byte expected = (byte) (mix(key + (at >>> 3)) >>> ((at & 7) * 8));
            if (source.getByte(offset + at) != expected) {
                throw new IllegalStateException("message " + index + " differs at byte " + at);
            }
        }
    }
}
