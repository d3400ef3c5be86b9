import io.aeron.Aeron;
import io.aeron.Publication;
import io.aeron.cluster.client.AeronCluster;
import io.aeron.cluster.client.EgressListener;
import io.aeron.cluster.codecs.EventCode;
import io.aeron.driver.MediaDriver;
import io.aeron.logbuffer.Header;
import java.util.TreeSet;
import org.agrona.DirectBuffer;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.YieldingIdleStrategy;

/** The genuine cluster client against any cluster that echoes. */
final class ClusterPeer implements EgressListener {
    private static final int WINDOW = 100;

    private final Content content;
    private final TreeSet<Long> unacknowledged = new TreeSet<>();
    private long doubled;
    private long leaderChanges;

    private ClusterPeer(final Content content) {
        this.content = content;
    }

    /**
     * Sends numbered messages, at most 100 in flight, through a driver of its own; after a leader change it sends what is
     * unacknowledged again. Prints HALFWAY once, for the test to kill the leader.
     */
    static void client(final Peer peer) {
        new ClusterPeer(peer.content()).run(peer);
    }

    private void run(final Peer peer) {
        final long count = peer.number("count");
        final IdleStrategy idle = new YieldingIdleStrategy();
        final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
        try (MediaDriver driver = MediaDriver.launch(TransportPeer.driverContext(peer));
            Aeron aeron = TransportPeer.connect(peer);
            AeronCluster cluster = AeronCluster.connect(new AeronCluster.Context()
                .aeron(aeron)
                .egressListener(this)
                .messageTimeoutNs(20_000_000_000L)
                .newLeaderTimeoutNs(30_000_000_000L)
                .ingressChannel("aeron:udp")
                .ingressEndpoints(peer.text("ingress"))
                .egressChannel(peer.text("egress", "aeron:udp?endpoint=localhost:0")))) {
            final long session = cluster.clusterSessionId();
            System.out.println("SESSION " + session + " leader " + cluster.leaderMemberId());
            System.out.println("READY");
            long next = 0;
            long seenChanges = 0;
            while (next < count || !unacknowledged.isEmpty()) {
                int work = cluster.pollEgress();
                if (seenChanges != leaderChanges) {
                    seenChanges = leaderChanges;
                    for (final long number : new TreeSet<>(unacknowledged)) {
                        send(cluster, buffer, number, idle);
                    }
                }
                if (next < count && unacknowledged.size() < WINDOW) {
                    unacknowledged.add(next);
                    if (next == count / 2) {
                        System.out.println("HALFWAY leader " + cluster.leaderMemberId());
                    }
                    send(cluster, buffer, next++, idle);
                    work++;
                }
                idle.idle(work);
            }
            if (cluster.clusterSessionId() != session) {
                throw new IllegalStateException("the session changed");
            }
            System.out.println("ECHOED " + count + " repeated " + doubled + " leader-changes "
                + leaderChanges + " leader " + cluster.leaderMemberId());
        }
    }

    private void send(
        final AeronCluster cluster, final ExpandableArrayBuffer buffer, final long number, final IdleStrategy idle) {
        buffer.putLong(0, number);
        final int length = 8 + content.write(number, buffer, 8);
        final long changes = leaderChanges;
        while (true) {
            final long result = cluster.offer(buffer, 0, length);
            if (result > 0 || changes != leaderChanges) {
                return;
            }
            if (result == Publication.CLOSED && cluster.isClosed()) {
                throw new IllegalStateException("the client is closed");
            }
            idle.idle(cluster.pollEgress());
        }
    }

    @Override
    public void onMessage(final long clusterSessionId, final long timestamp, final DirectBuffer buffer,
        final int offset, final int length, final Header header) {
        final long number = buffer.getLong(offset);
        content.check(number, buffer, offset + 8, length - 8);
        if (!unacknowledged.remove(number)) {
            doubled++;
        }
    }

    @Override
    public void onSessionEvent(final long correlationId, final long clusterSessionId,
        final long leadershipTermId, final int leaderMemberId, final EventCode code, final String detail) {
        System.out.println("EVENT " + code + " " + detail);
        if (code == EventCode.CLOSED) {
            throw new IllegalStateException("the session was closed: " + detail);
        }
    }

    @Override
    public void onNewLeader(final long clusterSessionId, final long leadershipTermId,
        final int leaderMemberId, final String ingressEndpoints) {
        leaderChanges++;
        System.out.println("NEW LEADER " + leaderMemberId + " term " + leadershipTermId + " with "
            + unacknowledged.size() + " in flight");
    }
}
