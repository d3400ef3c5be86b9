import io.aeron.Aeron;
import io.aeron.ChannelUri;
import io.aeron.ChannelUriStringBuilder;
import io.aeron.CommonContext;
import io.aeron.ExclusivePublication;
import io.aeron.FragmentAssembler;
import io.aeron.Subscription;
import io.aeron.archive.Archive;
import io.aeron.archive.client.AeronArchive;
import io.aeron.archive.client.ArchiveException;
import io.aeron.archive.client.ReplicationParams;
import io.aeron.archive.codecs.PurgeRecordingRequestDecoder;
import io.aeron.archive.codecs.RecordingSignal;
import io.aeron.archive.codecs.SourceLocation;
import io.aeron.security.Authenticator;
import io.aeron.security.CredentialsSupplier;
import io.aeron.security.SessionProxy;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.function.LongSupplier;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.YieldingIdleStrategy;

/** The rest of what a client asks of an archive. The same lines come of every archive. */
final class ArchiveOperations {
    private static final String IPC = "aeron:ipc?term-length=64k";
    private static final int SEGMENT = 1 << 20;

    private final Peer peer;
    private final Aeron aeron;
    private final AeronArchive archive;
    private final Deque<String> signals;
    private final IdleStrategy idle = new YieldingIdleStrategy();

    private ArchiveOperations(
        final Peer peer, final Aeron aeron, final AeronArchive archive, final Deque<String> signals) {
        this.peer = peer;
        this.aeron = aeron;
        this.archive = archive;
        this.signals = signals;
    }

    private interface Body {
        void run(ArchiveOperations operations);
    }

    private static void with(final Peer peer, final Body body) {
        final Deque<String> signals = new ArrayDeque<>();
        try (Aeron aeron = TransportPeer.connect(peer);
            AeronArchive archive = AeronArchive.connect(new AeronArchive.Context()
                .aeron(aeron)
                .controlRequestChannel(peer.text("control"))
                .controlResponseChannel(peer.text("response", "aeron:udp?endpoint=localhost:0"))
                .recordingSignalConsumer((session, correlation, recording, subscription, position, signal) ->
                    signals.add(signal + " " + recording)))) {
            body.run(new ArchiveOperations(peer, aeron, archive, signals));
        }
    }

    private void await(final RecordingSignal signal, final long recording) {
        while (!signals.remove(signal + " " + recording)) {
            archive.pollForRecordingSignals();
            idle.idle();
        }
    }

    /** What came of an operation: its answer, or the code of the error. */
    private void attempt(final String name, final LongSupplier operation) {
        String result;
        try {
            result = Long.toString(operation.getAsLong());
        } catch (final ArchiveException refused) {
            result = "error " + refused.errorCode();
        }
        System.out.println("OPERATION " + name + " " + result);
    }

    private void attempt(final String name, final Runnable operation) {
        attempt(name, () -> {
            operation.run();
            return 0;
        });
    }

    private long publishTo(final ExclusivePublication publication, final long first, final long count) {
        final Content content = peer.content();
        final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
        for (long i = first; i < first + count; i++) {
            final int length = content.write(i, buffer, 0);
            while (publication.offer(buffer, 0, length) < 0) {
                archive.checkForErrorResponse();
                idle.idle();
            }
        }
        return publication.position();
    }

    /** Records messages on a channel, until it is closed; returns the recording. */
    private long record(final String channel, final long first, final long count) {
        final int stream = (int) peer.number("stream");
        final long recording;
        try (ExclusivePublication publication = aeron.addExclusivePublication(channel, stream)) {
            final String session = ChannelUri.addSessionId(channel, publication.sessionId());
            archive.startRecording(session, stream, SourceLocation.LOCAL, true);
            final long stop = publishTo(publication, first, count);
            recording = archive.findLastMatchingRecording(0, "", stream, publication.sessionId());
            while (archive.getRecordingPosition(recording) < stop) {
                idle.idle();
            }
        }
        await(RecordingSignal.STOP, recording);
        return recording;
    }

    /** A channel whose stream goes on at a position of a recording. */
    private String continued(final long recording, final long position) {
        final String[] channel = {null};
        archive.listRecording(recording, (controlSession, correlation, id, startTimestamp, stopTimestamp,
            startPosition, stopPosition, initialTerm, segmentLength, termLength, mtu, session, stream,
            strippedChannel, originalChannel, source) -> channel[0] = new ChannelUriStringBuilder()
            .media(CommonContext.IPC_MEDIA)
            .mtu(mtu)
            .initialPosition(position, initialTerm, termLength)
            .build());
        return channel[0];
    }

    /** Replays all of a recording, which must be the messages from one on. */
    private void verify(final long recording, final long first) {
        final Content content = peer.content();
        final long start = archive.getStartPosition(recording);
        final long end = archive.getStopPosition(recording);
        final long[] next = {first, start};
        final FragmentAssembler assembler = new FragmentAssembler((buffer, offset, length, header) -> {
            content.check(next[0], buffer, offset, length);
            next[0]++;
            next[1] = header.position();
        });
        try (Subscription subscription = archive.replay(
            recording, start, AeronArchive.REPLAY_ALL_AND_STOP, "aeron:ipc", 7_777)) {
            while (next[1] < end) {
                final int fragments = subscription.poll(assembler, 64);
                if (fragments == 0) {
                    archive.checkForErrorResponse();
                }
                idle.idle(fragments);
            }
        }
        System.out.println("OPERATION verified " + first + " to " + next[0]);
    }

    /** Every operation on segments, rightly and wrongly used. The same as in src/operations.rs. */
    static void operations(final Peer peer) {
        with(peer, ArchiveOperations::segments);
    }

    private void segments() {
        final long first = record(IPC, 0, 4000);
        System.out.println("OPERATION recorded " + archive.getStopPosition(first));
        attempt("detach inside of a segment", () -> archive.detachSegments(first, SEGMENT + 32));
        attempt("detach beyond the end", () -> archive.detachSegments(first, 64L * SEGMENT));
        attempt("detach", () -> archive.detachSegments(first, SEGMENT));
        attempt("start", () -> archive.getStartPosition(first));
        verify(first, 1024);
        attempt("replay what is detached", () ->
            archive.startReplay(first, 0, Long.MAX_VALUE, "aeron:ipc", 77));
        attempt("attach", () -> archive.attachSegments(first));
        attempt("start", () -> archive.getStartPosition(first));
        verify(first, 0);
        attempt("detach", () -> archive.detachSegments(first, SEGMENT));
        attempt("delete detached", () -> archive.deleteDetachedSegments(first));
        await(RecordingSignal.DELETE, first);
        attempt("attach", () -> archive.attachSegments(first));
        attempt("purge segments", () -> archive.purgeSegments(first, 2L * SEGMENT));
        await(RecordingSignal.DELETE, first);
        attempt("start", () -> archive.getStartPosition(first));
        attempt("truncate before the start", () -> archive.truncateRecording(first, SEGMENT));
        attempt("truncate", () -> archive.truncateRecording(first, 3L * SEGMENT + 4096));
        await(RecordingSignal.DELETE, first);
        verify(first, 2048);
        extend(first, 3L * SEGMENT + 4096, 3076, 100);
        verify(first, 2048);
        attempt("truncate", () -> archive.truncateRecording(first, 3L * SEGMENT));
        await(RecordingSignal.DELETE, first);
        attempt("stop", () -> archive.getStopPosition(first));
        final long second = record(continued(first, 3L * SEGMENT), 3072, 1500);
        System.out.println("OPERATION second " + archive.getStartPosition(second) + " to "
            + archive.getStopPosition(second));
        attempt("migrate", () -> archive.migrateSegments(second, first));
        await(RecordingSignal.DELETE, second);
        attempt("stop", () -> archive.getStopPosition(first));
        verify(first, 2048);
        attempt("source's start", () -> archive.getStartPosition(second));
        attempt("source's stop", () -> archive.getStopPosition(second));
        attempt("migrate to itself", () -> archive.migrateSegments(first, first));
        attempt("purge", () -> archive.purgeRecording(second));
        await(RecordingSignal.DELETE, second);
        refusals(first, second);
    }

    private void refusals(final long first, final long second) {
        attempt("start of what is purged", () -> archive.getStartPosition(second));
        attempt("purge what is purged", () -> archive.purgeRecording(second));
        attempt("list what is purged", () -> archive.listRecording(second, null));
        attempt("stop what is not recorded", () -> archive.tryStopRecording(IPC, 4242) ? 1 : 0);
        attempt("stop a replication that is not", () -> archive.tryStopReplication(77) ? 1 : 0);
        attempt("replicate what is not", () -> archive.replicate(99, 98, 10, peer.text("control"), null));
        attempt("extend another stream", () ->
            archive.extendRecording(first, IPC, 4242, SourceLocation.LOCAL, true));
        attempt("extend what is not", () ->
            archive.extendRecording(99, IPC, 1001, SourceLocation.LOCAL, true));
        attempt("update channel", () -> archive.updateChannel(first, "aeron:ipc?alias=other"));
        attempt("find it by that", () -> archive.listRecordingsForUri(0, 9, "alias=other", 1001,
            (controlSession, correlation, id, startTimestamp, stopTimestamp, startPosition, stopPosition,
            initialTerm, segmentLength, termLength, mtu, session, stream, strippedChannel,
            originalChannel, source) -> System.out.println("OPERATION found " + id + " " + originalChannel)));
        // Last, for theirs moves the end all the same.
        attempt("truncate inside of a frame", () ->
            archive.truncateRecording(first, 3L * SEGMENT - 32 * 5));
    }

    /** Goes on with a recording that has stopped at a position. */
    private void extend(final long recording, final long position, final long first, final long count) {
        final int stream = (int) peer.number("stream");
        final String channel = continued(recording, position);
        final long stop;
        try (ExclusivePublication publication = aeron.addExclusivePublication(channel, stream)) {
            final String session = ChannelUri.addSessionId(channel, publication.sessionId());
            archive.extendRecording(recording, session, stream, SourceLocation.LOCAL, true);
            stop = publishTo(publication, first, count);
            while (archive.getRecordingPosition(recording) < stop) {
                idle.idle();
            }
        }
        await(RecordingSignal.STOP, recording);
        System.out.println("OPERATION extended to " + archive.getStopPosition(recording));
    }

    /** Copies a recording to the archive that `control` leads to, and tells what is signalled. */
    static void replicate(final Peer peer) {
        with(peer, it -> {
            final ReplicationParams parameters = new ReplicationParams();
            if (!peer.text("live", "").isEmpty()) {
                parameters.liveDestination(peer.text("live"));
            }
            parameters.dstRecordingId(peer.number("to", -1));
            it.archive.replicate(peer.number("recording"), 10, peer.text("source"), parameters);
            long copy = -1;
            boolean isOver = false;
            System.out.println("READY");
            while (!isOver) {
                it.archive.pollForRecordingSignals();
                it.archive.checkForErrorResponse();
                while (!it.signals.isEmpty()) {
                    final String signal = it.signals.remove();
                    System.out.println("SIGNAL " + signal);
                    copy = Long.parseLong(signal.substring(signal.indexOf(' ') + 1));
                    isOver |= signal.startsWith("REPLICATE_END");
                }
                it.idle.idle();
            }
            System.out.println("COPY " + copy);
            try {
                final long wanted = Long.parseLong(new BufferedReader(new InputStreamReader(System.in)).readLine());
                while (it.archive.getMaxRecordedPosition(copy) < wanted) {
                    it.idle.idle();
                }
                System.out.println("REACHED " + wanted);
            } catch (final IOException ended) {
                throw new IllegalStateException(ended);
            }
        });
    }

    /** Publishes on a channel that is recorded, until its input ends. */
    static void source(final Peer peer) {
        with(peer, it -> {
            final int stream = (int) peer.number("stream");
            final String channel = peer.text("channel");
            try (ExclusivePublication publication = it.aeron.addExclusivePublication(channel, stream)) {
                it.archive.startRecording(channel, stream, SourceLocation.LOCAL, true);
                final long count = peer.number("count");
                it.publishTo(publication, 0, count / 2);
                final long recording =
                    it.archive.findLastMatchingRecording(0, "", stream, publication.sessionId());
                System.out.println("RECORDING " + recording + " session " + publication.sessionId());
                // The other half while whoever reads goes over to the live stream.
                for (long i = count / 2; i < count; i++) {
                    it.publishTo(publication, i, 1);
                    it.archive.checkForErrorResponse();
                    Thread.sleep(1);
                }
                System.out.println("POSITION " + publication.position());
                while (System.in.read() >= 0) {
                    it.idle.idle();
                }
            } catch (final InterruptedException | IOException ended) {
                throw new IllegalStateException(ended);
            }
        });
    }

    /** Connects with credentials, after a challenge. */
    static void secured(final Peer peer) {
        try (Aeron aeron = TransportPeer.connect(peer);
            AeronArchive archive = AeronArchive.connect(new AeronArchive.Context()
                .aeron(aeron)
                .controlRequestChannel(peer.text("control"))
                .controlResponseChannel(peer.text("response", "aeron:udp?endpoint=localhost:0"))
                .credentialsSupplier(new CredentialsSupplier() {
                    public byte[] encodedCredentials() {
                        return peer.text("credentials").getBytes(StandardCharsets.US_ASCII);
                    }

                    public byte[] onChallenge(final byte[] challenge) {
                        System.out.println("CHALLENGE " + new String(challenge, StandardCharsets.US_ASCII));
                        return peer.text("answer", "answer").getBytes(StandardCharsets.US_ASCII);
                    }
                }))) {
            System.out.println("ADMITTED " + archive.listRecordings(0, 10, null));
            try {
                archive.purgeRecording(0);
            } catch (final ArchiveException refused) {
                System.out.println("REFUSED " + refused.errorCode());
            }
        } catch (final ArchiveException refused) {
            System.out.println("REJECTED " + refused.errorCode());
        }
    }

    /** Asks whoever says "ask" and admits whoever says "known"; nobody may purge. */
    static void secure(final Archive.Context context) {
        final byte[] who = "somebody".getBytes(StandardCharsets.US_ASCII);
        context.authenticatorSupplier(() -> new Authenticator() {
            private final Map<Long, byte[]> said = new HashMap<>();

            private boolean isFrom(final long session, final String expected) {
                return expected.equals(new String(said.getOrDefault(session, new byte[0]), StandardCharsets.US_ASCII));
            }

            public void onConnectRequest(final long session, final byte[] credentials, final long now) {
                said.put(session, credentials);
            }

            public void onChallengeResponse(final long session, final byte[] answer, final long now) {
                said.put(session, answer);
            }

            public void onConnectedSession(final SessionProxy session, final long now) {
                if (isFrom(session.sessionId(), "known")) {
                    session.authenticate(who);
                } else if (isFrom(session.sessionId(), "ask")) {
                    session.challenge("who".getBytes(StandardCharsets.US_ASCII));
                } else {
                    session.reject();
                }
            }

            public void onChallengedSession(final SessionProxy session, final long now) {
                if (isFrom(session.sessionId(), "answer")) {
                    session.authenticate(who);
                } else if (!isFrom(session.sessionId(), "ask")) {
                    session.reject();
                }
            }
        });
        context.authorisationServiceSupplier(() -> (protocol, action, type, principal) ->
            action != PurgeRecordingRequestDecoder.TEMPLATE_ID && Arrays.equals(who, principal));
    }
}
