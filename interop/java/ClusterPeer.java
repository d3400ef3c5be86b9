import io.aeron.Aeron;
import io.aeron.Publication;
import io.aeron.cluster.client.AeronCluster;
import io.aeron.cluster.client.EgressListener;
import io.aeron.cluster.codecs.EventCode;
import io.aeron.driver.MediaDriver;
import io.aeron.logbuffer.Header;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicLong;
import org.agrona.DirectBuffer;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.YieldingIdleStrategy;

/** The genuine cluster client against any cluster that echoes. */
final class ClusterPeer implements EgressListener {
    private static final int WINDOW = 100;

    private final Content content;
    private final TreeSet<Long> unacknowledged = new TreeSet<>();
    private final AtomicLong permits = new AtomicLong();
    private long doubled;
    private long again;
    private long leaderChanges;
    private long lastEcho;

    private ClusterPeer(final Content content) {
        this.content = content;
    }

    /**
     * Sends numbered messages, at most 100 in flight, through a driver of its own; after a leader change, and when nothing
     * comes for 2 s, it sends what is unacknowledged again. Prints each of some marks, for the test to kill the leader; it
     * goes beyond the next only once it has heard a line for the one before.
     */
    static void client(final Peer peer) {
        final ClusterPeer client = new ClusterPeer(peer.content());
        final Thread listener = new Thread(client::listen);
        listener.setDaemon(true);
        listener.start();
        client.run(peer);
    }

    private void listen() {
        try {
            final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
            while (input.readLine() != null) {
                permits.incrementAndGet();
            }
        } catch (final IOException ended) {
            throw new IllegalStateException(ended);
        }
    }

    private void run(final Peer peer) {
        final long count = peer.number("count");
        final long stretch = count / (peer.number("marks", 1) + 1);
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
            lastEcho = System.nanoTime();
            while (next < count || !unacknowledged.isEmpty()) {
                int work = cluster.pollEgress();
                if (seenChanges != leaderChanges || System.nanoTime() - lastEcho > 2_000_000_000L) {
                    seenChanges = leaderChanges;
                    lastEcho = System.nanoTime();
                    again += unacknowledged.size();
                    for (final long number : new TreeSet<>(unacknowledged)) {
                        send(cluster, buffer, number, idle);
                    }
                }
                final boolean isMark = next > 0 && next < count && next % stretch == 0;
                final boolean isFree = !isMark || permits.get() >= next / stretch - 1;
                if (next < count && unacknowledged.size() < WINDOW && isFree) {
                    unacknowledged.add(next);
                    if (isMark) {
                        System.out.println("MARK " + next / stretch + " leader " + cluster.leaderMemberId());
                    }
                    send(cluster, buffer, next++, idle);
                    work++;
                }
                idle.idle(work);
            }
            if (cluster.clusterSessionId() != session) {
                throw new IllegalStateException("the session changed");
            }
            System.out.println("ECHOED " + count + " repeated " + doubled + " sent-again " + again + " leader-changes "
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
        lastEcho = System.nanoTime();
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
