import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.logbuffer.FragmentHandler;
import java.io.IOException;
import org.agrona.BitUtil;
import org.agrona.BufferUtil;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;

/** Throughput and round trips of genuine Aeron's transport. */
final class BenchTransport {
    static final int FRAGMENT_LIMIT = 256;
    /** Passes between two looks at the clock. */
    static final int PASSES = 64;

    private BenchTransport() {
    }

    static void driver(final Bench bench) throws InterruptedException {
        final MediaDriver.Context context = new MediaDriver.Context()
            .aeronDirectoryName(bench.text("dir"))
            .sharedIdleStrategy(bench.idle());
        try (MediaDriver driver = MediaDriver.launch(context)) {
            Bench.serve();
        }
    }

    static Aeron connect(final Bench bench) {
        return Aeron.connect(new Aeron.Context().aeronDirectoryName(bench.text("dir")));
    }

    static UnsafeBuffer message(final Bench bench) {
        return new UnsafeBuffer(BufferUtil.allocateDirectAligned(
            (int) bench.number("length"), BitUtil.CACHE_LINE_LENGTH));
    }

    static void offer(
        final ExclusivePublication publication, final UnsafeBuffer message, final IdleStrategy idle) {
        long result;
        while ((result = publication.offer(message, 0, message.capacity())) < 0) {
            if (result == Publication.CLOSED || result == Publication.MAX_POSITION_EXCEEDED) {
                throw new IllegalStateException("offer returned " + result);
            }
            idle.idle();
        }
    }

    static void publish(final Bench bench) {
        final UnsafeBuffer message = message(bench);
        final IdleStrategy idle = bench.idle();
        try (Aeron aeron = connect(bench);
            ExclusivePublication publication = aeron.addExclusivePublication(
                bench.text("channel"), (int) bench.number("stream"))) {
            while (true) {
                offer(publication, message, idle);
            }
        }
    }

    /** Counts what comes. */
    static final class Count {
        long messages;
        long bytes;
    }

    static void subscribe(final Bench bench) {
        final Count count = new Count();
        final FragmentHandler handler = (buffer, offset, length, header) -> {
            count.messages++;
            count.bytes += length;
        };
        final IdleStrategy idle = bench.idle();
        try (Aeron aeron = connect(bench);
            Subscription subscription = aeron.addSubscription(
                bench.text("channel"), (int) bench.number("stream"))) {
            System.out.println("READY");
            System.out.flush();
            while (!subscription.isConnected()) {
                idle.idle();
            }
            final long begin = System.nanoTime();
            poll(subscription, handler, idle, begin + bench.nanos("warm-up-ms"));
            final long messages = count.messages;
            final long bytes = count.bytes;
            Bench.measuring();
            final long start = System.nanoTime();
            final long end = poll(subscription, handler, idle, start + bench.nanos("measure-ms"));
            Bench.measured(count.messages - messages, count.bytes - bytes, end - start);
        }
    }

    private static long poll(
        final Subscription subscription,
        final FragmentHandler handler,
        final IdleStrategy idle,
        final long until) {
        long now;
        do {
            for (int i = 0; i < PASSES; i++) {
                final int fragments = subscription.poll(handler, FRAGMENT_LIMIT);
                if (fragments == 0) {
                    idle.idle();
                }
            }
            now = System.nanoTime();
        }
        while (now - until < 0);
        return now;
    }

    /** Sends one message at a time and waits for it to come back. */
    static final class Pinger implements FragmentHandler {
        final Subscription subscription;
        final ExclusivePublication publication;
        final UnsafeBuffer message;
        final IdleStrategy idle;
        final long[] values;
        int count;
        private long sequence;
        private long heard;

        Pinger(
            final Bench bench,
            final Subscription subscription,
            final ExclusivePublication publication) {
            this.subscription = subscription;
            this.publication = publication;
            message = BenchTransport.message(bench);
            idle = bench.idle();
            values = new long[(int) bench.number("samples")];
        }

        @Override
        public void onFragment(
            final org.agrona.DirectBuffer buffer,
            final int offset,
            final int length,
            final io.aeron.logbuffer.Header header) {
            heard = buffer.getLong(offset);
        }

        void run(final long nanos) {
            final long begin = System.nanoTime();
            long sent = begin;
            count = 0;
            while (count < values.length && sent - begin < nanos) {
                message.putLong(0, ++sequence);
                offer(publication, message, idle);
                while (heard != sequence) {
                    if (subscription.poll(this, 1) == 0) {
                        idle.idle();
                    }
                }
                final long now = System.nanoTime();
                values[count++] = now - sent;
                sent = now;
            }
        }
    }

    static void ping(final Bench bench) throws IOException {
        try (Aeron aeron = connect(bench);
            Subscription subscription = aeron.addSubscription(
                bench.text("back-channel"), (int) bench.number("back-stream"));
            ExclusivePublication publication = aeron.addExclusivePublication(
                bench.text("channel"), (int) bench.number("stream"))) {
            final Pinger pinger = new Pinger(bench, subscription, publication);
            while (!subscription.isConnected() || !publication.isConnected()) {
                Thread.yield();
            }
            pinger.run(bench.nanos("warm-up-ms"));
            Bench.measuring();
            final long start = System.nanoTime();
            pinger.run(bench.nanos("measure-ms"));
            final long nanos = System.nanoTime() - start;
            Bench.write(bench.text("out"), pinger.values, pinger.count);
            Bench.measured(pinger.count, bench.number("length") * pinger.count, nanos);
        }
    }

    static void pong(final Bench bench) {
        final IdleStrategy idle = bench.idle();
        try (Aeron aeron = connect(bench);
            Subscription subscription = aeron.addSubscription(
                bench.text("channel"), (int) bench.number("stream"));
            ExclusivePublication publication = aeron.addExclusivePublication(
                bench.text("back-channel"), (int) bench.number("back-stream"))) {
            System.out.println("READY");
            System.out.flush();
            final FragmentHandler handler = (buffer, offset, length, header) -> {
                long result;
                while ((result = publication.offer(buffer, offset, length)) < 0) {
                    if (result == Publication.CLOSED || result == Publication.MAX_POSITION_EXCEEDED) {
                        throw new IllegalStateException("offer returned " + result);
                    }
                    idle.idle();
                }
            };
            while (true) {
                if (subscription.poll(handler, 1) == 0) {
                    idle.idle();
                }
            }
        }
    }
}
