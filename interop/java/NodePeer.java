import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.cluster.ConsensusModule;
import io.aeron.cluster.service.ClusteredServiceContainer;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import java.io.File;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;
import org.agrona.ErrorHandler;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.IdleStrategy;

/** Parts of a node of genuine Aeron: the same that {@code src/member.rs} has of ours. */
final class NodePeer {
    private static final int TERM_LENGTH = 1 << 20;

    private final Peer peer;

    private NodePeer(final Peer peer) {
        this.peer = peer;
    }

    /** Options that begin with "aeron." are genuine ones. */
    static void node(final Peer peer) throws Exception {
        // A busy machine is no dead driver.
        System.setProperty("aeron.driver.timeout", "30000");
        peer.properties("aeron.");
        final NodePeer node = new NodePeer(peer);
        final Deque<AutoCloseable> parts = new ArrayDeque<>();
        try {
            for (final String part : peer.text("parts").split(",")) {
                parts.push(node.launch(part));
            }
            Peer.serveUntilInputEnds();
        } finally {
            while (!parts.isEmpty()) {
                parts.pop().close();
            }
        }
    }

    private AutoCloseable launch(final String part) {
        return switch (part) {
            case "driver" -> MediaDriver.launch(driver());
            case "archive" -> Archive.launch(archive());
            case "module" -> ConsensusModule.launch(module());
            case "container" -> ClusteredServiceContainer.launch(container());
            default -> throw new IllegalArgumentException("unknown part " + part);
        };
    }

    private static IdleStrategy idle() {
        return new BackoffIdleStrategy(10, 20, 1_000, 1_000_000);
    }

    private static ErrorHandler errors(final String part) {
        return error -> System.out.println("REMARK " + part + ": " + error);
    }

    private MediaDriver.Context driver() {
        return new MediaDriver.Context()
            .aeronDirectoryName(peer.text("aeron"))
            .threadingMode(ThreadingMode.SHARED)
            .sharedIdleStrategy(idle())
            .errorHandler(errors("driver"))
            .dirDeleteOnStart(true)
            .spiesSimulateConnection(true)
            .publicationTermBufferLength(TERM_LENGTH)
            .ipcTermBufferLength(TERM_LENGTH);
    }

    private Archive.Context archive() {
        return new Archive.Context()
            .aeronDirectoryName(peer.text("aeron"))
            .archiveDir(new File(peer.text("home"), "archive"))
            .threadingMode(ArchiveThreadingMode.SHARED)
            .idleStrategySupplier(NodePeer::idle)
            .errorHandler(errors("archive"))
            .segmentFileLength(TERM_LENGTH)
            .controlChannel(peer.text("control"))
            .replicationChannel("aeron:udp?endpoint=127.0.0.1:0");
    }

    private ConsensusModule.Context module() {
        return new ConsensusModule.Context()
            .aeronDirectoryName(peer.text("aeron"))
            .clusterDir(new File(peer.text("home"), "cluster"))
            .idleStrategySupplier(NodePeer::idle)
            .errorHandler(errors("module"))
            .terminationHook(() -> System.out.println("REMARK module: terminated"))
            .replicationChannel("aeron:udp?endpoint=127.0.0.1:0");
    }

    private ClusteredServiceContainer.Context container() {
        return new ClusteredServiceContainer.Context()
            .aeronDirectoryName(peer.text("aeron"))
            .clusterDir(new File(peer.text("home"), "cluster"))
            .idleStrategySupplier(NodePeer::idle)
            .errorHandler(errors("container"))
            .terminationHook(() -> System.out.println("REMARK container: terminated"))
            .clusteredService(new EchoService());
    }
}
