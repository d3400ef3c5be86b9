import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.Image;
import io.aeron.Publication;
import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.cluster.ClusteredMediaDriver;
import io.aeron.cluster.ConsensusModule;
import io.aeron.cluster.client.AeronCluster;
import io.aeron.cluster.client.EgressListener;
import io.aeron.cluster.codecs.CloseReason;
import io.aeron.cluster.service.ClientSession;
import io.aeron.cluster.service.Cluster;
import io.aeron.cluster.service.ClusteredService;
import io.aeron.cluster.service.ClusteredServiceContainer;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.logbuffer.Header;
import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.AgentInvoker;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.YieldingIdleStrategy;

/** Genuine members of a cluster that echoes, and its clients. */
final class BenchCluster {
    /** How long a cluster may take to come up, or to answer. */
    private static final long LIMIT_NS = 60_000_000_000L;
    /** Fragments taken in one pass, at most. */
    private static final int FRAGMENT_LIMIT = 256;
    /** Between two looks whether the leader was killed. */
    private static final long LOOK_INTERVAL_NS = 1_000_000;

    private BenchCluster() {
    }

    static void member(final Bench bench) throws InterruptedException {
        final String directory = bench.text("directory");
        final String aeron = bench.text("dir");
        final MediaDriver.Context driver = new MediaDriver.Context()
            .aeronDirectoryName(aeron)
            .threadingMode(ThreadingMode.SHARED);
        final Archive.Context archive = new Archive.Context()
            .aeronDirectoryName(aeron)
            .archiveDirectoryName(directory + "/archive")
            .threadingMode(ArchiveThreadingMode.SHARED);
        final ConsensusModule.Context module = new ConsensusModule.Context()
            .aeronDirectoryName(aeron)
            .clusterDirectoryName(directory + "/cluster")
            .clusterMemberId((int) bench.number("member"))
            .clusterMembers(bench.text("members"));
        final ClusteredServiceContainer.Context container = new ClusteredServiceContainer.Context()
            .aeronDirectoryName(aeron)
            .clusterDirectoryName(directory + "/cluster")
            .clusteredService(new Echo());
        if (!bench.text("idle").equals("default")) {
            driver.sharedIdleStrategy(bench.idle());
            archive.idleStrategySupplier(bench::idle);
            module.idleStrategySupplier(bench::idle);
            container.idleStrategySupplier(bench::idle);
        }
        try (ClusteredMediaDriver node = ClusteredMediaDriver.launch(driver, archive, module);
            ClusteredServiceContainer services = ClusteredServiceContainer.launch(container)) {
            Bench.serve();
        }
    }

    /** Sends back what comes, as it is. */
    static final class Echo implements ClusteredService {
        private Cluster cluster;

        @Override
        public void onStart(final Cluster cluster, final Image snapshotImage) {
            this.cluster = cluster;
        }

        @Override
        public void onSessionOpen(final ClientSession session, final long timestamp) {
        }

        @Override
        public void onSessionClose(
            final ClientSession session, final long timestamp, final CloseReason closeReason) {
        }

        @Override
        public void onSessionMessage(final ClientSession session, final long timestamp,
            final DirectBuffer buffer, final int offset, final int length, final Header header) {
            if (session == null) {
                return;
            }
            long result;
            while ((result = session.offer(buffer, offset, length)) < 0) {
                if (result != Publication.ADMIN_ACTION && result != Publication.BACK_PRESSURED) {
                    return;
                }
                cluster.idleStrategy().idle();
            }
        }

        @Override
        public void onTimerEvent(final long correlationId, final long timestamp) {
        }

        @Override
        public void onTakeSnapshot(final ExclusivePublication snapshotPublication) {
        }

        @Override
        public void onRoleChange(final Cluster.Role newRole) {
        }

        @Override
        public void onTerminate(final Cluster cluster) {
        }
    }

    /** A client with a driver of its own. */
    private abstract static class Session implements EgressListener {
        final UnsafeBuffer message;
        final IdleStrategy idle;
        final Aeron aeron;
        final AeronCluster.Context context;
        /** Step the driver and its client, unless they have threads. */
        final AgentInvoker driverInvoker;
        final AgentInvoker clientInvoker;
        AeronCluster cluster;

        Session(final Bench bench, final boolean hasThread) {
            message = BenchTransport.message(bench);
            idle = bench.idle();
            final MediaDriver.Context driver = new MediaDriver.Context()
                .aeronDirectoryName(bench.text("dir"))
                .sharedIdleStrategy(bench.idle())
                .threadingMode(hasThread ? ThreadingMode.SHARED : ThreadingMode.INVOKER);
            driverInvoker = MediaDriver.launch(driver).sharedAgentInvoker();
            final Aeron.Context client = new Aeron.Context().aeronDirectoryName(bench.text("dir"));
            if (!hasThread) {
                client.useConductorAgentInvoker(true).driverAgentInvoker(driverInvoker);
            }
            aeron = Aeron.connect(client);
            clientInvoker = aeron.conductorAgentInvoker();
            context = new AeronCluster.Context()
                .aeron(aeron)
                .agentInvoker(driverInvoker)
                .egressListener(this)
                .idleStrategy(new YieldingIdleStrategy())
                .messageTimeoutNs(LIMIT_NS)
                .ingressChannel(bench.text("ingress-channel"))
                .ingressEndpoints(bench.text("ingress"))
                .egressChannel(bench.text("egress"));
        }

        final void open() {
            cluster = AeronCluster.connect(context);
        }

        final int step() {
            return driverInvoker == null ? 0 : driverInvoker.invoke() + clientInvoker.invoke();
        }

        final int poll() {
            int sum = 0;
            int fragments;
            do {
                fragments = cluster.pollEgress();
                sum += fragments;
            }
            while (fragments > 0 && sum < FRAGMENT_LIMIT);
            return sum;
        }

        /** Sends a message with the time in it; false if it has to wait. */
        final boolean send() {
            message.putLong(0, System.nanoTime(), ByteOrder.LITTLE_ENDIAN);
            final long result = cluster.offer(message, 0, message.capacity());
            if (result == Publication.MAX_POSITION_EXCEEDED || cluster.isClosed()) {
                throw new IllegalStateException("offer returned " + result);
            }
            return result > 0;
        }

        @Override
        public final void onMessage(final long clusterSessionId, final long timestamp,
            final DirectBuffer buffer, final int offset, final int length, final Header header) {
            onEcho(buffer.getLong(offset, ByteOrder.LITTLE_ENDIAN));
        }

        /** A message that was sent then has come back. */
        abstract void onEcho(long sent);
    }

    /** Keeps messages under way. */
    private static final class Load extends Session {
        final int window;
        final long[] times;
        int underWay;
        int count;

        Load(final Bench bench) {
            super(bench, false);
            window = (int) bench.number("window");
            times = new long[(int) bench.number("samples")];
        }

        @Override
        void onEcho(final long sent) {
            times[count++] = System.nanoTime() - sent;
            underWay--;
        }

        long run(final long span) {
            final long end = System.nanoTime() + span;
            count = 0;
            while (true) {
                final long now = System.nanoTime();
                if (now - end >= 0 || count + 2 * FRAGMENT_LIMIT > times.length) {
                    return now;
                }
                int done = step() + poll();
                while (underWay < window && send()) {
                    underWay++;
                    done++;
                }
                if (done == 0) {
                    idle.idle();
                }
            }
        }
    }

    static void load(final Bench bench) throws IOException {
        final Load load = new Load(bench);
        load.open();
        load.run(bench.nanos("warm-up-ms"));
        Bench.measuring();
        final long start = System.nanoTime();
        final long end = load.run(bench.nanos("measure-ms"));
        Bench.write(bench.text("out"), load.times, load.count);
        Bench.measured(load.count, (long) load.count * load.message.capacity(), end - start);
    }

    /** Waits for one message. */
    private static final class First extends Session {
        boolean isHeard;

        First(final Bench bench) {
            super(bench, false);
        }

        @Override
        void onEcho(final long sent) {
            isHeard = true;
        }
    }

    static void firstEcho(final Bench bench) throws InterruptedException {
        final First first = new First(bench);
        System.out.println("READY");
        System.out.flush();
        first.open();
        boolean isSent = false;
        while (!first.isHeard) {
            first.step();
            first.poll();
            isSent = isSent || first.send();
            first.idle.idle();
        }
        System.out.println("ECHO");
        System.out.flush();
        // Whoever waits for it still looks at this process.
        Thread.sleep(LIMIT_NS / 1_000_000);
    }

    /** Sends at a rate, whatever comes of it, until a dead leader has a successor. */
    private static final class Outage extends Session {
        long killed = Long.MAX_VALUE;
        long back = -1;

        Outage(final Bench bench) {
            super(bench, true);
        }

        @Override
        void onEcho(final long sent) {
            if (sent > killed && back < 0) {
                back = System.nanoTime();
            }
        }
    }

    static void outage(final Bench bench) throws IOException, InterruptedException {
        final Outage outage = new Outage(bench);
        outage.open();
        System.out.println("LEADER " + outage.cluster.leaderMemberId());
        System.out.flush();
        final long interval = bench.number("interval-us") * 1_000;
        final Path path = Path.of(bench.text("killed"));
        final long start = System.nanoTime();
        long next = start;
        long nextLook = start + bench.nanos("warm-up-ms");
        boolean isWarm = false;
        while (outage.back < 0) {
            final int done = outage.poll();
            final long now = System.nanoTime();
            for (; next <= now; next += interval) {
                outage.send();
            }
            if (outage.killed == Long.MAX_VALUE && now >= nextLook) {
                nextLook = now + LOOK_INTERVAL_NS;
                if (!isWarm) {
                    isWarm = true;
                    Bench.measuring();
                }
                if (Files.exists(path)) {
                    outage.killed = Long.parseLong(Files.readString(path));
                }
            }
            if (done == 0) {
                outage.idle.idle();
            }
        }
        System.out.println("OUTAGE " + (outage.back - outage.killed));
        System.out.flush();
        Thread.sleep(LIMIT_NS / 1_000_000);
    }
}
