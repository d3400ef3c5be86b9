import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/**
 * The genuine side of each interoperability test: one role a process, told by its first argument;
 * the others are name=value. It prints READY when it serves, lines of facts, and OK at its end.
 * Roles that serve end when their standard input does.
 */
public final class Peer {
    private final Map<String, String> options = new HashMap<>();

    private Peer(final String[] arguments) {
        for (int i = 1; i < arguments.length; i++) {
            final int equals = arguments[i].indexOf('=');
            options.put(arguments[i].substring(0, equals), arguments[i].substring(equals + 1));
        }
    }

    String text(final String name) {
        final String value = options.get(name);
        if (value == null) {
            throw new IllegalArgumentException("no " + name);
        }
        return value;
    }

    String text(final String name, final String otherwise) {
        return options.getOrDefault(name, otherwise);
    }

    long number(final String name) {
        return Long.parseLong(text(name));
    }

    long number(final String name, final long otherwise) {
        return options.containsKey(name) ? number(name) : otherwise;
    }

    /** Sets the options whose names begin so as system properties. */
    void properties(final String beginning) {
        options.forEach((name, value) -> {
            if (name.startsWith(beginning)) {
                System.setProperty(name, value);
            }
        });
    }

    Content content() {
        return new Content(number("seed"), (int) number("min", 8), (int) number("max", 1300));
    }

    /** Fails the process when it takes longer than the deadline given, so that no test hangs. */
    private void startWatchdog() {
        final long seconds = number("deadline", 60);
        final Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(seconds * 1000);
            } catch (final InterruptedException ignored) {
                return;
            }
            System.out.println("FAIL: not done after " + seconds + " s");
            Runtime.getRuntime().halt(3);
        });
        watchdog.setDaemon(true);
        watchdog.start();
    }

    static void serveUntilInputEnds() throws IOException {
        System.out.println("READY");
        while (System.in.read() >= 0) {
            Thread.onSpinWait();
        }
    }

    public static void main(final String[] arguments) {
        final Peer peer = new Peer(arguments);
        peer.startWatchdog();
        try {
            switch (arguments[0]) {
                case "driver" -> TransportPeer.driver(peer);
                case "publish" -> TransportPeer.publish(peer);
                case "subscribe" -> TransportPeer.subscribe(peer);
                case "stat" -> TransportPeer.stat(peer);
                case "archive" -> ArchivePeer.archive(peer);
                case "record" -> ArchivePeer.record(peer);
                case "replay" -> ArchivePeer.replay(peer);
                case "list" -> ArchivePeer.list(peer);
                case "operations" -> ArchiveOperations.operations(peer);
                case "replicate" -> ArchiveOperations.replicate(peer);
                case "source" -> ArchiveOperations.source(peer);
                case "secured" -> ArchiveOperations.secured(peer);
                case "node" -> NodePeer.node(peer);
                case "cluster-client" -> ClusterPeer.client(peer);
                default -> throw new IllegalArgumentException("unknown role " + arguments[0]);
            }
            System.out.println("OK");
            System.out.flush();
            Runtime.getRuntime().halt(0);
        } catch (final Throwable failure) {
            failure.printStackTrace(System.out);
            System.out.println("FAIL: " + failure);
            System.out.flush();
            Runtime.getRuntime().halt(1);
        }
    }
}
