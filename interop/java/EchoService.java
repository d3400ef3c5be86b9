import io.aeron.Counter;
import io.aeron.ExclusivePublication;
import io.aeron.FragmentAssembler;
import io.aeron.Image;
import io.aeron.cluster.codecs.CloseReason;
import io.aeron.cluster.service.ClientSession;
import io.aeron.cluster.service.Cluster;
import io.aeron.cluster.service.ClusteredService;
import io.aeron.logbuffer.Header;
import org.agrona.DirectBuffer;
import org.agrona.ExpandableArrayBuffer;

/**
 * Sends back what comes, and counts it. Its snapshot is the count, then ballast that is checked:
 * the same as that of the service in {@code src/member.rs}.
 */
final class EchoService implements ClusteredService {
    private static final Content BALLAST = new Content(31, 8, 4_000);
    private static final int BALLAST_COUNT = 32;

    private final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
    private Cluster cluster;
    private Counter executed;
    private long count;

    @Override
    public void onStart(final Cluster cluster, final Image snapshot) {
        this.cluster = cluster;
        if (snapshot != null) {
            load(snapshot);
        }
        cluster.aeron().addCounter(1_201, "interop: restored").setOrdered(count);
        executed = cluster.aeron().addCounter(1_200, "interop: executed");
        executed.setOrdered(count);
    }

    private void load(final Image snapshot) {
        final int[] loaded = {0};
        final FragmentAssembler assembler = new FragmentAssembler((buffer, offset, length, header) -> {
            if (loaded[0] == 0) {
                count = buffer.getLong(offset);
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
        offer(snapshot, 8);
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
        if (session != null) {
            while (session.offer(buffer, offset, length) < 0) {
                cluster.idleStrategy().idle();
            }
            executed.setOrdered(++count);
        }
    }

    @Override
    public void onSessionOpen(final ClientSession session, final long timestamp) {
    }

    @Override
    public void onSessionClose(
        final ClientSession session, final long timestamp, final CloseReason closeReason) {
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
