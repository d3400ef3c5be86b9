import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.Subscription;
import io.aeron.archive.Archive;
import io.aeron.archive.ArchiveThreadingMode;
import io.aeron.archive.ArchivingMediaDriver;
import io.aeron.archive.client.AeronArchive;
import io.aeron.archive.codecs.SourceLocation;
import io.aeron.archive.status.RecordingPos;
import io.aeron.driver.MediaDriver;
import io.aeron.logbuffer.FragmentHandler;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.status.CountersReader;

/** Recording and replaying by the genuine archive. */
final class BenchArchive {
    private BenchArchive() {
    }

    static void archive(final Bench bench) throws InterruptedException {
        final MediaDriver.Context driver = new MediaDriver.Context()
            .aeronDirectoryName(bench.text("dir"))
            .sharedIdleStrategy(bench.idle());
        final Archive.Context archive = new Archive.Context()
            .aeronDirectoryName(bench.text("dir"))
            .threadingMode(ArchiveThreadingMode.SHARED)
            .idleStrategySupplier(bench::idle);
        try (ArchivingMediaDriver node = ArchivingMediaDriver.launch(driver, archive)) {
            Bench.serve();
        }
    }

    /** A recorded publication that is written to in rounds. */
    static final class Recording implements AutoCloseable {
        final Aeron aeron;
        final AeronArchive archive;
        final ExclusivePublication publication;
        final UnsafeBuffer message;
        final IdleStrategy idle;
        final CountersReader counters;
        final int counter;
        final long id;

        Recording(final Bench bench) {
            aeron = BenchTransport.connect(bench);
            archive = AeronArchive.connect(new AeronArchive.Context()
                .aeron(aeron)
                .controlRequestChannel("aeron:ipc")
                .controlResponseChannel("aeron:ipc"));
            final String channel = bench.text("channel");
            final int stream = (int) bench.number("stream");
            publication = aeron.addExclusivePublication(channel, stream);
            archive.startRecording(channel, stream, SourceLocation.LOCAL);
            message = BenchTransport.message(bench);
            idle = bench.idle();
            counters = aeron.countersReader();
            int found;
            while ((found = RecordingPos.findCounterIdBySession(
                counters, publication.sessionId(), archive.archiveId())) < 0) {
                Thread.yield();
            }
            counter = found;
            id = RecordingPos.getRecordingId(counters, counter);
        }

        void write(final long count) {
            for (long i = 0; i < count; i++) {
                BenchTransport.offer(publication, message, idle);
            }
            while (counters.getCounterValue(counter) < publication.position()) {
                idle.idle();
            }
        }

        @Override
        public void close() {
            publication.close();
            archive.close();
            aeron.close();
        }
    }

    static void record(final Bench bench) {
        final long count = bench.number("count");
        try (Recording recording = new Recording(bench)) {
            recording.write(bench.number("warm-up-count"));
            final long position = recording.publication.position();
            Bench.measuring();
            final long start = System.nanoTime();
            recording.write(count);
            final long nanos = System.nanoTime() - start;
            Bench.measured(count, recording.publication.position() - position, nanos);
        }
    }

    static void replay(final Bench bench) {
        final long count = bench.number("count");
        try (Recording recording = new Recording(bench)) {
            recording.write(count);
            replayAll(bench, recording, count);
            Bench.measuring();
            final long start = System.nanoTime();
            replayAll(bench, recording, count);
            final long nanos = System.nanoTime() - start;
            Bench.measured(count, recording.publication.position(), nanos);
        }
    }

    private static void replayAll(final Bench bench, final Recording recording, final long count) {
        final BenchTransport.Count heard = new BenchTransport.Count();
        final FragmentHandler handler = (buffer, offset, length, header) -> heard.messages++;
        try (Subscription subscription = recording.archive.replay(
            recording.id, 0, recording.publication.position(), bench.text("replay-channel"), 7_777)) {
            while (heard.messages < count) {
                if (subscription.poll(handler, BenchTransport.FRAGMENT_LIMIT) == 0) {
                    recording.idle.idle();
                }
            }
        }
    }
}
