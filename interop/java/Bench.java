import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.BusySpinIdleStrategy;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.YieldingIdleStrategy;

/**
 * The genuine side of coracle's benches: one role a process, told by its first argument; the others
 * are name=value, of which those that begin with "aeron." become system properties. A role that
 * serves prints READY, one that measures prints MEASURING when it begins and MEASURED with what it
 * found. All end when their standard input does.
 */
public final class Bench {
    private final Map<String, String> options = new HashMap<>();

    private Bench(final String[] arguments) {
        for (int i = 1; i < arguments.length; i++) {
            final int equals = arguments[i].indexOf('=');
            final String name = arguments[i].substring(0, equals);
            final String value = arguments[i].substring(equals + 1);
            options.put(name, value);
            if (name.startsWith("aeron.")) {
                System.setProperty(name, value);
            }
        }
    }

    String text(final String name) {
        final String value = options.get(name);
        if (value == null) {
            throw new IllegalArgumentException("no " + name);
        }
        return value;
    }

    long number(final String name) {
        return Long.parseLong(text(name));
    }

    long nanos(final String name) {
        return Long.parseLong(text(name)) * 1_000_000;
    }

    IdleStrategy idle() {
        final String name = text("idle");
        return switch (name) {
            case "spin" -> new BusySpinIdleStrategy();
            case "yield" -> new YieldingIdleStrategy();
            case "backoff" -> new BackoffIdleStrategy(10, 20, 1_000, 1_000_000);
            default -> throw new IllegalArgumentException("idle=" + name);
        };
    }

    static void measuring() {
        System.out.println("MEASURING");
        System.out.flush();
    }

    static void measured(final long messages, final long bytes, final long nanos) {
        System.out.println("MEASURED " + messages + " " + bytes + " " + nanos);
        System.out.flush();
    }

    static void write(final String path, final long[] values, final int count) throws IOException {
        try (FileChannel file = FileChannel.open(
            Path.of(path), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            final ByteBuffer buffer = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);
            for (int i = 0; i < count; i++) {
                buffer.putLong(values[i]);
                if (!buffer.hasRemaining() || i == count - 1) {
                    buffer.flip();
                    while (buffer.hasRemaining()) {
                        file.write(buffer);
                    }
                    buffer.clear();
                }
            }
        }
    }

    static void serve() throws InterruptedException {
        System.out.println("READY");
        System.out.flush();
        while (true) {
            Thread.sleep(1_000);
        }
    }

    private static void endWithInput() {
        final Thread thread = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    Thread.onSpinWait();
                }
            } catch (final IOException ignored) {
                // The same as its end.
            }
            Runtime.getRuntime().halt(0);
        });
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(final String[] arguments) {
        endWithInput();
        try {
            final Bench bench = new Bench(arguments);
            switch (arguments[0]) {
                case "driver" -> BenchTransport.driver(bench);
                case "publish" -> BenchTransport.publish(bench);
                case "subscribe" -> BenchTransport.subscribe(bench);
                case "ping" -> BenchTransport.ping(bench);
                case "pong" -> BenchTransport.pong(bench);
                case "archive" -> BenchArchive.archive(bench);
                case "record" -> BenchArchive.record(bench);
                case "replay" -> BenchArchive.replay(bench);
                case "member" -> BenchCluster.member(bench);
                case "load" -> BenchCluster.load(bench);
                case "first-echo" -> BenchCluster.firstEcho(bench);
                case "outage" -> BenchCluster.outage(bench);
                default -> throw new IllegalArgumentException("unknown role " + arguments[0]);
            }
            Runtime.getRuntime().halt(0);
        } catch (final Throwable failure) {
            failure.printStackTrace(System.err);
            System.out.println("FAIL: " + failure);
            System.out.flush();
            Runtime.getRuntime().halt(1);
        }
    }
}
