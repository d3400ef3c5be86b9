import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.FragmentAssembler;
import io.aeron.Subscription;
import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.archive.ArchivingMediaDriver;
import io.aeron.archive.checksum.Checksums;
import io.aeron.archive.client.AeronArchive;
import io.aeron.archive.codecs.SourceLocation;
import io.aeron.archive.status.RecordingPos;
import java.io.File;
import java.io.IOException;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.agrona.concurrent.status.CountersReader;

/** The genuine archive, and its client against any archive. */
final class ArchivePeer {
    private ArchivePeer() {
    }

    static void archive(final Peer peer) throws IOException {
        final Archive.Context context = new Archive.Context()
            .aeronDirectoryName(peer.text("dir"))
            .archiveDir(new File(peer.text("archive-dir")))
            .threadingMode(ArchiveThreadingMode.SHARED)
            .segmentFileLength((int) peer.number("segment-length", 1 << 20))
            .recordChecksum(Checksums.crc32())
            .replayChecksum(Checksums.crc32())
            .controlChannel(peer.text("control"))
            .replicationChannel("aeron:udp?endpoint=localhost:0");
        if (!peer.text("secured", "").isEmpty()) {
            ArchiveOperations.secure(context);
        }
        try (ArchivingMediaDriver node = ArchivingMediaDriver.launch(
            TransportPeer.driverContext(peer).spiesSimulateConnection(true), context)) {
            Peer.serveUntilInputEnds();
        }
    }

    static AeronArchive connect(final Peer peer, final Aeron aeron) {
        return AeronArchive.connect(new AeronArchive.Context()
            .aeron(aeron)
            .controlRequestChannel(peer.text("control"))
            .controlResponseChannel(peer.text("response", "aeron:udp?endpoint=localhost:0")));
    }

    /** Records messages that it publishes itself, and prints the id of the recording. */
    static void record(final Peer peer) {
        final Content content = peer.content();
        final long count = peer.number("count");
        final ExpandableArrayBuffer buffer = new ExpandableArrayBuffer();
        final String channel = peer.text("channel", "aeron:ipc?term-length=64k");
        final int stream = (int) peer.number("stream");
        final IdleStrategy idle = new YieldingIdleStrategy();
        try (Aeron aeron = TransportPeer.connect(peer);
            AeronArchive archive = connect(peer, aeron);
            ExclusivePublication publication = aeron.addExclusivePublication(channel, stream)) {
            archive.startRecording(channel, stream, SourceLocation.LOCAL);
            for (long i = 0; i < count; i++) {
                final int length = content.write(i, buffer, 0);
                while (publication.offer(buffer, 0, length) < 0) {
                    archive.checkForErrorResponse();
                    idle.idle();
                }
            }
            final CountersReader counters = aeron.countersReader();
            int counter;
            while ((counter = RecordingPos.findCounterIdBySession(
                counters, publication.sessionId(), archive.archiveId())) < 0) {
                idle.idle();
            }
            final long recording = RecordingPos.getRecordingId(counters, counter);
            while (counters.getCounterValue(counter) < publication.position()) {
                idle.idle();
            }
            System.out.println("RECORDED " + recording + " position " + publication.position());
            archive.stopRecording(channel, stream);
            while (archive.getStopPosition(recording) == AeronArchive.NULL_POSITION) {
                idle.idle();
            }
        }
    }

    /** Replays a recording from its start and checks each byte. */
    static void replay(final Peer peer) {
        final Content content = peer.content();
        final long count = peer.number("count");
        final long[] next = {0};
        final FragmentAssembler assembler = new FragmentAssembler((buffer, offset, length, header) -> {
            content.check(next[0], buffer, offset, length);
            next[0]++;
        });
        final IdleStrategy idle = new YieldingIdleStrategy();
        try (Aeron aeron = TransportPeer.connect(peer);
            AeronArchive archive = connect(peer, aeron)) {
            final long recording = peer.number("recording");
            final long start = archive.getStartPosition(recording);
            final String channel = peer.text("replay-channel", "aeron:ipc");
            try (Subscription subscription = archive.replay(
                recording, start, AeronArchive.REPLAY_ALL_AND_STOP, channel, 7_777)) {
                while (next[0] < count) {
                    final int fragments = subscription.poll(assembler, 64);
                    if (fragments == 0) {
                        archive.checkForErrorResponse();
                    }
                    idle.idle(fragments);
                }
            }
            System.out.println("VERIFIED " + next[0]);
        }
    }

    static void list(final Peer peer) {
        try (Aeron aeron = TransportPeer.connect(peer);
            AeronArchive archive = connect(peer, aeron)) {
            final int listed = archive.listRecordings(0, 1000, (controlSession, correlation, recording,
                startTimestamp, stopTimestamp, startPosition, stopPosition, initialTerm, segmentLength,
                termLength, mtu, session, stream, strippedChannel, originalChannel, source) ->
                System.out.println("RECORDING " + recording + " stream " + stream + " start "
                    + startPosition + " stop " + stopPosition + " term-length " + termLength
                    + " segment-length " + segmentLength + " channel " + strippedChannel));
            System.out.println("LISTED " + listed);
        }
    }
}
