import io.aeron.Counter;
import io.aeron.ExclusivePublication;
import io.aeron.FragmentAssembler;
import io.aeron.Image;
import io.aeron.Publication;
import io.aeron.cluster.codecs.CloseReason;
import io.aeron.cluster.service.ClientSession;
import io.aeron.cluster.service.Cluster;
import io.aeron.cluster.service.ClusteredService;
import io.aeron.logbuffer.Header;
import java.util.Map;
import java.util.TreeMap;
import org.agrona.DirectBuffer;
import org.agrona.ExpandableArrayBuffer;

/**
 * Sends back what comes. Messages are numbered by their sessions: each is executed once and in order;
 * one that comes again is sent back only, one that comes too early is let go. Its snapshot is what
 * was executed, then ballast that is checked: the same as that of the service in {@code src/echo.rs}.
 */
final class EchoService implements ClusteredService {
    private static final Content BALLAST = new Content(31, 8, 4_000);
    private static final int BALLAST_COUNT = 32;

    private final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
    private Cluster cluster;
    private final TreeMap<Long, Long> next = new TreeMap<>();
    private Counter executed;
    private Counter hashed;
    private Counter repeated;
    private long count;
    private long hash;

    @Override
    public void onStart(final Cluster cluster, final Image snapshot) {
        this.cluster = cluster;
        if (snapshot != null) {
            load(snapshot);
        }
        cluster.aeron().addCounter(1_201, "interop: restored").setOrdered(count);
        hashed = cluster.aeron().addCounter(1_202, "interop: hash");
        hashed.setOrdered(hash);
        repeated = cluster.aeron().addCounter(1_203, "interop: repeated");
        executed = cluster.aeron().addCounter(1_200, "interop: executed");
        executed.setOrdered(count);
    }

    private void load(final Image snapshot) {
        final int[] loaded = {0};
        final FragmentAssembler assembler = new FragmentAssembler((buffer, offset, length, header) -> {
            if (loaded[0] == 0) {
                count = buffer.getLong(offset);
                hash = buffer.getLong(offset + 8);
                for (int at = 16; at < length; at += 16) {
                    next.put(buffer.getLong(offset + at), buffer.getLong(offset + at + 8));
                }
            } else {
                BALLAST.check(loaded[0] - 1, buffer, offset, length);
            }
            loaded[0]++;
        });
        while (loaded[0] <= BALLAST_COUNT) {
            final int fragments = snapshot.poll(assembler, 10);
            if (fragments == 0 && snapshot.isClosed()) {
                throw new IllegalStateException("the snapshot ends after " + loaded[0] + " messages");
            }
            cluster.idleStrategy().idle(fragments);
        }
    }

    @Override
    public void onTakeSnapshot(final ExclusivePublication snapshot) {
        buffer.putLong(0, count);
        buffer.putLong(8, hash);
        int length = 16;
        for (final Map.Entry<Long, Long> entry : next.entrySet()) {
            buffer.putLong(length, entry.getKey());
            buffer.putLong(length + 8, entry.getValue());
            length += 16;
        }
        offer(snapshot, length);
        for (int i = 0; i < BALLAST_COUNT; i++) {
            offer(snapshot, BALLAST.write(i, buffer, 0));
        }
    }

    private void offer(final ExclusivePublication snapshot, final int length) {
        while (snapshot.offer(buffer, 0, length) < 0) {
            cluster.idleStrategy().idle();
        }
    }

    @Override
    public void onSessionMessage(final ClientSession session, final long timestamp,
        final DirectBuffer buffer, final int offset, final int length, final Header header) {
        if (session == null) {
            return;
        }
        final long number = buffer.getLong(offset);
        final long expected = next.getOrDefault(session.id(), 0L);
        if (number > expected) {
            return;
        }
        if (number < expected) {
            repeated.incrementOrdered();
        } else {
            next.put(session.id(), number + 1);
            execute(session.id(), number, buffer, offset, length);
        }
        long result;
        do {
            result = session.offer(buffer, offset, length);
        } while (result == Publication.BACK_PRESSURED || result == Publication.ADMIN_ACTION);
    }

    private void execute(final long session, final long number,
        final DirectBuffer buffer, final int offset, final int length) {
        long sum = 0;
        for (int at = 0; at < length; at++) {
            sum = sum * 31 + (buffer.getByte(offset + at) & 0xff);
        }
        hash = Content.mix(Content.mix(hash ^ Content.mix(session) ^ number) ^ sum);
        hashed.setOrdered(hash);
        executed.setOrdered(++count);
    }

    @Override
    public void onSessionOpen(final ClientSession session, final long timestamp) {
    }

    @Override
    public void onSessionClose(
        final ClientSession session, final long timestamp, final CloseReason closeReason) {
        next.remove(session.id());
    }

    @Override
    public void onTimerEvent(final long correlationId, final long timestamp) {
    }

    @Override
    public void onRoleChange(final Cluster.Role newRole) {
    }

    @Override
    public void onTerminate(final Cluster cluster) {
    }
}
