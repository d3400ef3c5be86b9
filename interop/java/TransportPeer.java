import io.aeron.Aeron;
import io.aeron.CommonContext;
import io.aeron.FragmentAssembler;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.logbuffer.FragmentHandler;
import java.io.File;
import java.io.IOException;
import java.util.concurrent.locks.LockSupport;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.agrona.concurrent.status.CountersReader;

/** Drivers, publishers, subscribers and the counters of genuine Aeron. */
final class TransportPeer {
    private TransportPeer() {
    }

    static MediaDriver.Context driverContext(final Peer peer) {
        return new MediaDriver.Context()
            .aeronDirectoryName(peer.text("dir"))
            .threadingMode(ThreadingMode.SHARED)
            .sharedIdleStrategy(new BackoffIdleStrategy(10, 20, 1_000, 1_000_000))
            .dirDeleteOnStart(true)
            .dirDeleteOnShutdown(true)
            .publicationTermBufferLength((int) peer.number("term-length", 1 << 20))
            .ipcTermBufferLength((int) peer.number("term-length", 1 << 20))
            .spiesSimulateConnection(Boolean.parseBoolean(peer.text("spies", "false")));
    }

    static void driver(final Peer peer) throws IOException {
        try (MediaDriver driver = MediaDriver.launch(driverContext(peer))) {
            Peer.serveUntilInputEnds();
        }
    }

    static Aeron connect(final Peer peer) {
        return Aeron.connect(new Aeron.Context().aeronDirectoryName(peer.text("dir")));
    }

    static void publish(final Peer peer) {
        final Content content = peer.content();
        final long count = peer.number("count");
        final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
        try (Aeron aeron = connect(peer);
            Publication publication = "true".equals(peer.text("exclusive", "false"))
                ? aeron.addExclusivePublication(peer.text("channel"), (int) peer.number("stream"))
                : aeron.addPublication(peer.text("channel"), (int) peer.number("stream"))) {
            for (final String destination : peer.text("destinations", "").split(",")) {
                if (!destination.isEmpty()) {
                    publication.addDestination(destination);
                }
            }
            System.out.println("READY");
            final IdleStrategy idle = new YieldingIdleStrategy();
            long refused = 0;
            for (long i = 0; i < count; i++) {
                final int length = content.write(i, buffer, 0);
                long result;
                while ((result = publication.offer(buffer, 0, length)) < 0) {
                    if (result == Publication.CLOSED || result == Publication.MAX_POSITION_EXCEEDED) {
                        throw new IllegalStateException("offer " + i + " returned " + result);
                    }
                    refused += result == Publication.BACK_PRESSURED ? 1 : 0;
                    idle.idle();
                }
            }
            System.out.println(
                "SENT " + count + " position " + publication.position() + " refused " + refused);
            while (publication.isConnected()) {
                idle.idle();
            }
        }
    }

    static void subscribe(final Peer peer) {
        final Content content = peer.content();
        final long count = peer.number("count");
        final long[] next = {0};
        final FragmentHandler handler = (buffer, offset, length, header) -> {
            content.check(next[0], buffer, offset, length);
            next[0]++;
        };
        final FragmentAssembler assembler = new FragmentAssembler(handler);
        try (Aeron aeron = connect(peer);
            Subscription subscription =
                aeron.addSubscription(peer.text("channel"), (int) peer.number("stream"))) {
            for (final String destination : peer.text("sources", "").split(",")) {
                if (!destination.isEmpty()) {
                    subscription.addDestination(destination);
                }
            }
            System.out.println("READY");
            final IdleStrategy idle = new YieldingIdleStrategy();
            final long pause = peer.number("pause", 0);
            while (next[0] < count) {
                final int fragments = subscription.poll(assembler, pause > 0 ? 4 : 64);
                if (pause > 0) {
                    LockSupport.parkNanos(1_000 * pause);
                } else {
                    idle.idle(fragments);
                }
            }
            System.out.println("VERIFIED " + next[0]);
        }
    }

    /** Prints each counter the way that AeronStat reads it: id, type, value, label. */
    static void stat(final Peer peer) {
        final File cnc = new File(peer.text("dir"), "cnc.dat");
        printCounters(cnc);
    }

    private static void printCounters(final File cnc) {
        final var mapped = org.agrona.IoUtil.mapExistingFile(cnc, "cnc.dat");
        final UnsafeBuffer metadata = io.aeron.CncFileDescriptor.createMetaDataBuffer(mapped);
        io.aeron.CncFileDescriptor.checkVersion(metadata.getInt(0));
        final CountersReader counters = new CountersReader(
            io.aeron.CncFileDescriptor.createCountersMetaDataBuffer(mapped, metadata),
            io.aeron.CncFileDescriptor.createCountersValuesBuffer(mapped, metadata));
        counters.forEach((value, id, label) -> System.out.println(
            "COUNTER " + id + " type " + counters.getCounterTypeId(id) + " value " + value + " " + label));
        System.out.println("DRIVER ACTIVE " + CommonContext.isDriverActive(
            cnc.getParentFile(), 10_000, message -> { }));
    }
}
