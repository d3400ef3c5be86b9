// Prints the bytes that genuine Aeron writes for each frame, command, event and file header of the
// transport: "name hex", one a line. Its output is crates/wire/tests/data/transport-<version>.txt.
//
//   javac -cp aeron-all-<version>.jar -d out TransportBytes.java
//   java --add-opens java.base/jdk.internal.misc=ALL-UNNAMED \
//        -cp aeron-all-<version>.jar:out TransportBytes

import io.aeron.CncFileDescriptor;
import io.aeron.ErrorCode;
import io.aeron.command.*;
import io.aeron.logbuffer.LogBufferDescriptor;
import io.aeron.protocol.*;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.broadcast.BroadcastTransmitter;
import org.agrona.concurrent.errors.DistinctErrorLog;
import org.agrona.concurrent.ringbuffer.ManyToOneRingBuffer;
import org.agrona.concurrent.status.CountersManager;

public final class TransportBytes
{
    private static final String CHANNEL = "aeron:udp?endpoint=localhost:40123";

    public static void main(final String[] args) throws Exception
    {
        frames();
        resolution();
        commands();
        events();
        cnc();
        log();
        counters();
        records();
    }

    private static void print(final String name, final MutableDirectBuffer buffer, final int length)
    {
        final StringBuilder hex = new StringBuilder();
        for (int i = 0; i < length; i++)
        {
            hex.append(String.format("%02x", buffer.getByte(i)));
        }
        System.out.println(name + " " + hex);
    }

    private static UnsafeBuffer fresh(final int length)
    {
        return new UnsafeBuffer(java.nio.ByteBuffer.allocateDirect(length));
    }

    private static void base(final HeaderFlyweight frame, final int type, final int flags, final int length)
    {
        frame.version((short)0).flags((short)flags).headerType(type).frameLength(length);
    }

    private static void frames()
    {
        UnsafeBuffer b = fresh(256);
        final DataHeaderFlyweight data = new DataHeaderFlyweight(b);
        base(data, HeaderFlyweight.HDR_TYPE_DATA, 0xC0, 37);
        data.termOffset(4096).sessionId(0x11223344).streamId(-1001).termId(-7).reservedValue(0x0102030405060708L);
        b.putStringWithoutLengthAscii(32, "hello");
        print("frame.data", b, 64);

        b = fresh(256);
        final SetupFlyweight setup = new SetupFlyweight(b);
        base(setup, HeaderFlyweight.HDR_TYPE_SETUP, 0xC0, 40);
        setup.termOffset(64).sessionId(0x11223344).streamId(-1001).initialTermId(-8).activeTermId(-7)
            .termLength(65536).mtuLength(1408).ttl(4);
        print("frame.setup", b, 40);

        b = fresh(256);
        final StatusMessageFlyweight sm = new StatusMessageFlyweight(b);
        base(sm, HeaderFlyweight.HDR_TYPE_SM, 0x80, 36);
        sm.sessionId(0x11223344).streamId(-1001).consumptionTermId(-7).consumptionTermOffset(128)
            .receiverWindowLength(32768).receiverId(0x0102030405060708L);
        print("frame.status-message", b, 36);
        base(sm, HeaderFlyweight.HDR_TYPE_SM, 0x40, 44);
        sm.groupTag(-9L);
        print("frame.status-message-tagged", b, 44);

        b = fresh(256);
        final NakFlyweight nak = new NakFlyweight(b);
        base(nak, HeaderFlyweight.HDR_TYPE_NAK, 0, 28);
        nak.sessionId(0x11223344).streamId(-1001).termId(-7).termOffset(128).length(1408);
        print("frame.nak", b, 28);

        b = fresh(256);
        final RttMeasurementFlyweight rtt = new RttMeasurementFlyweight(b);
        base(rtt, HeaderFlyweight.HDR_TYPE_RTTM, 0x80, 40);
        rtt.sessionId(0x11223344).streamId(-1001).echoTimestampNs(5).receptionDelta(6).receiverId(7);
        print("frame.round-trip", b, 40);

        b = fresh(256);
        final ErrorFlyweight error = new ErrorFlyweight(b);
        base(error, HeaderFlyweight.HDR_TYPE_ERR, 0, 40);
        error.sessionId(0x11223344).streamId(-1001).receiverId(7).groupTag(-9L).errorCode(13).errorMessage("no");
        print("frame.error", b, 42);

        b = fresh(256);
        final ResponseSetupFlyweight response = new ResponseSetupFlyweight(b);
        base(response, HeaderFlyweight.HDR_TYPE_RSP_SETUP, 0, 20);
        response.sessionId(0x11223344).streamId(-1001).responseSessionId(77);
        print("frame.response-setup", b, 20);
    }

    private static void resolution() throws Exception
    {
        final UnsafeBuffer b = fresh(256);
        final HeaderFlyweight header = new HeaderFlyweight(b);
        final ResolutionEntryFlyweight entry = new ResolutionEntryFlyweight(b);
        entry.wrap(b, 8, 248);
        entry.resType(ResolutionEntryFlyweight.RES_TYPE_NAME_TO_IP4_MD).flags((short)0x80).udpPort(8050).ageInMs(1234)
            .putAddress(new byte[]{ 10, 1, 2, 3 }).putName("alpha".getBytes(StandardCharsets.US_ASCII));
        final int first = entry.entryLength();
        entry.wrap(b, 8 + first, 248 - first);
        entry.resType(ResolutionEntryFlyweight.RES_TYPE_NAME_TO_IP6_MD).flags((short)0).udpPort(65535).ageInMs(0)
            .putAddress(InetAddress.getByName("fe80::1").getAddress())
            .putName("b".getBytes(StandardCharsets.US_ASCII));
        final int length = 8 + first + entry.entryLength();
        base(header, HeaderFlyweight.HDR_TYPE_RES, 0, length);
        print("frame.resolution", b, length);
    }

    private static MutableDirectBuffer key()
    {
        return new UnsafeBuffer(new byte[]{ 1, 2, 3, 4, 5 });
    }

    private static MutableDirectBuffer label()
    {
        return new UnsafeBuffer("a label".getBytes(StandardCharsets.US_ASCII));
    }

    private static <T extends CorrelatedMessageFlyweight> T command(final T flyweight, final UnsafeBuffer buffer)
    {
        buffer.setMemory(0, buffer.capacity(), (byte)0);
        flyweight.wrap(buffer, 0);
        flyweight.clientId(3).correlationId(9);
        return flyweight;
    }

    private static void commands()
    {
        final UnsafeBuffer b = fresh(256);
        final PublicationMessageFlyweight publication = command(new PublicationMessageFlyweight(), b);
        publication.streamId(-10).channel(CHANNEL);
        print("command.AddPublication", b, publication.length());
        print("command.AddExclusivePublication", b, publication.length());

        command(new RemovePublicationFlyweight(), b).revoke(true).registrationId(77);
        print("command.RemovePublication", b, RemovePublicationFlyweight.length());

        final SubscriptionMessageFlyweight subscription = command(new SubscriptionMessageFlyweight(), b);
        subscription.registrationCorrelationId(-1).streamId(-10).channel(CHANNEL);
        print("command.AddSubscription", b, subscription.length());

        command(new RemoveSubscriptionFlyweight(), b).registrationId(77);
        print("command.RemoveSubscription", b, RemoveMessageFlyweight.length());

        command(new CorrelatedMessageFlyweight(), b);
        print("command.ClientKeepalive", b, CorrelatedMessageFlyweight.LENGTH);
        print("command.ClientClose", b, CorrelatedMessageFlyweight.LENGTH);

        final DestinationMessageFlyweight destination = command(new DestinationMessageFlyweight(), b);
        destination.registrationCorrelationId(77).channel(CHANNEL);
        print("command.AddDestination", b, destination.length());
        print("command.RemoveDestination", b, destination.length());
        print("command.AddReceiveDestination", b, destination.length());
        print("command.RemoveReceiveDestination", b, destination.length());

        final CounterMessageFlyweight counter = command(new CounterMessageFlyweight(), b);
        counter.typeId(1001).keyBuffer(key(), 0, 5).labelBuffer(label(), 0, 7);
        print("command.AddCounter", b, counter.length());

        command(new RemoveCounterFlyweight(), b).registrationId(77);
        print("command.RemoveCounter", b, RemoveMessageFlyweight.length());

        final TerminateDriverFlyweight terminate = command(new TerminateDriverFlyweight(), b);
        terminate.tokenBuffer(new UnsafeBuffer("token".getBytes(StandardCharsets.US_ASCII)), 0, 5);
        print("command.TerminateDriver", b, terminate.length());

        final StaticCounterMessageFlyweight fixed = command(new StaticCounterMessageFlyweight(), b);
        fixed.registrationId(77).typeId(1001).keyBuffer(key(), 0, 5).labelBuffer(label(), 0, 7);
        print("command.AddStaticCounter", b, fixed.length());

        final RejectImageFlyweight reject = command(new RejectImageFlyweight(), b);
        reject.imageCorrelationId(77).position(64).reason("why");
        print("command.RejectImage", b, RejectImageFlyweight.computeLength("why"));

        command(new DestinationByIdMessageFlyweight(), b).resourceRegistrationId(77).destinationRegistrationId(78);
        print("command.RemoveDestinationById", b, DestinationByIdMessageFlyweight.MESSAGE_LENGTH);

        final GetNextAvailableSessionIdMessageFlyweight next =
            command(new GetNextAvailableSessionIdMessageFlyweight(), b);
        next.streamId(-10);
        print("command.NextAvailableSessionId", b, 20);
    }

    private static UnsafeBuffer cleared(final UnsafeBuffer buffer)
    {
        buffer.setMemory(0, buffer.capacity(), (byte)0);
        return buffer;
    }

    private static void events() throws Exception
    {
        final UnsafeBuffer b = fresh(256);
        final ErrorResponseFlyweight error = new ErrorResponseFlyweight().wrap(b, 0);
        error.offendingCommandCorrelationId(9).errorCode(ErrorCode.UNKNOWN_HOST).errorMessage("no");
        print("event.Error", b, error.length());

        final ImageBuffersReadyFlyweight image = new ImageBuffersReadyFlyweight().wrap(cleared(b), 0);
        image.correlationId(9).sessionId(-5).streamId(10).subscriptionRegistrationId(77).subscriberPositionId(4)
            .logFileName("/a/b.logbuffer").sourceIdentity("1.2.3.4:5");
        print("event.AvailableImage", b, image.length());

        final PublicationBuffersReadyFlyweight ready = new PublicationBuffersReadyFlyweight().wrap(cleared(b), 0);
        ready.correlationId(9).registrationId(8).sessionId(-5).streamId(10).publicationLimitCounterId(4)
            .channelStatusCounterId(-1).logFileName("/a/b.logbuffer");
        print("event.PublicationReady", b, ready.length());
        print("event.ExclusivePublicationReady", b, ready.length());

        new OperationSucceededFlyweight().wrap(cleared(b), 0).correlationId(9);
        print("event.OperationSucceeded", b, OperationSucceededFlyweight.LENGTH);

        final ImageMessageFlyweight gone = new ImageMessageFlyweight().wrap(cleared(b), 0);
        gone.correlationId(9).subscriptionRegistrationId(77).streamId(10).channel(CHANNEL);
        print("event.UnavailableImage", b, gone.length());

        new SubscriptionReadyFlyweight().wrap(cleared(b), 0).correlationId(9).channelStatusCounterId(4);
        print("event.SubscriptionReady", b, SubscriptionReadyFlyweight.LENGTH);

        new CounterUpdateFlyweight().wrap(cleared(b), 0).correlationId(9).counterId(4);
        print("event.CounterReady", b, CounterUpdateFlyweight.LENGTH);
        print("event.UnavailableCounter", b, CounterUpdateFlyweight.LENGTH);

        new ClientTimeoutFlyweight().wrap(cleared(b), 0).clientId(3);
        print("event.ClientTimedOut", b, ClientTimeoutFlyweight.LENGTH);

        new StaticCounterFlyweight().wrap(cleared(b), 0).correlationId(9).counterId(4);
        print("event.StaticCounter", b, StaticCounterFlyweight.LENGTH);

        final PublicationErrorFrameFlyweight rejected = new PublicationErrorFrameFlyweight().wrap(cleared(b), 0);
        rejected.registrationId(9).destinationRegistrationId(-1).sessionId(-5).streamId(10).receiverId(7)
            .groupTag(-1).sourceAddress(new InetSocketAddress("10.1.2.3", 40123))
            .errorCode(ErrorCode.IMAGE_REJECTED).errorMessage("why");
        print("event.PublicationError", b, rejected.length());
        rejected.sourceAddress(new InetSocketAddress("fe80::1", 40123));
        print("event.PublicationError6", b, rejected.length());

        new NextAvailableSessionIdFlyweight().wrap(cleared(b), 0).correlationId(9).nextSessionId(-5);
        print("event.NextAvailableSessionId", b, 12);
    }

    private static void cnc()
    {
        final UnsafeBuffer b = fresh(128);
        CncFileDescriptor.fillMetaData(
            b, 1049344, 1048704, 33554432, 8388608, 10_000_000_000L, 4194304, 1764000000000L, 4242, 8192);
        CncFileDescriptor.signalCncReady(b);
        print("cnc", b, 128);
    }

    private static void log()
    {
        final UnsafeBuffer b = fresh(4096);
        LogBufferDescriptor.rawTail(b, 0, LogBufferDescriptor.packTail(-5, 64));
        LogBufferDescriptor.activeTermCount(b, 2);
        LogBufferDescriptor.endOfStreamPosition(b, Long.MAX_VALUE);
        LogBufferDescriptor.isConnected(b, true);
        LogBufferDescriptor.activeTransportCount(b, 6);
        LogBufferDescriptor.correlationId(b, 77);
        LogBufferDescriptor.initialTermId(b, -5);
        b.putInt(LogBufferDescriptor.LOG_DEFAULT_FRAME_HEADER_LENGTH_OFFSET, 32);
        LogBufferDescriptor.mtuLength(b, 1408);
        LogBufferDescriptor.termLength(b, 65536);
        LogBufferDescriptor.pageSize(b, 4096);
        LogBufferDescriptor.publicationWindowLength(b, 32768);
        LogBufferDescriptor.receiverWindowLength(b, 131072);
        LogBufferDescriptor.socketSndbufLength(b, 1);
        LogBufferDescriptor.osDefaultSocketSndbufLength(b, 2);
        LogBufferDescriptor.osMaxSocketSndbufLength(b, 3);
        LogBufferDescriptor.socketRcvbufLength(b, 4);
        LogBufferDescriptor.osDefaultSocketRcvbufLength(b, 5);
        LogBufferDescriptor.osMaxSocketRcvbufLength(b, 6);
        LogBufferDescriptor.maxResend(b, 16);
        b.putBytes(
            LogBufferDescriptor.LOG_DEFAULT_FRAME_HEADER_OFFSET,
            DataHeaderFlyweight.createDefaultHeader(11, 1001, -5), 0, 32);
        LogBufferDescriptor.entityTag(b, -1);
        LogBufferDescriptor.responseCorrelationId(b, -2);
        LogBufferDescriptor.lingerTimeoutNs(b, 5);
        LogBufferDescriptor.untetheredWindowLimitTimeoutNs(b, 6);
        LogBufferDescriptor.untetheredRestingTimeoutNs(b, 7);
        LogBufferDescriptor.untetheredLingerTimeoutNs(b, -9);
        LogBufferDescriptor.rejoin(b, true);
        LogBufferDescriptor.signalEos(b, true);
        LogBufferDescriptor.tether(b, true);
        LogBufferDescriptor.isPublicationRevoked(b, true);
        LogBufferDescriptor.type(b, (byte)1);
        print("log", b, 512);
    }

    private static void counters()
    {
        final UnsafeBuffer metadata = fresh(2 * 512 * 1024);
        final UnsafeBuffer values = fresh(2 * 128 * 1024);
        final CountersManager manager = new CountersManager(metadata, values, StandardCharsets.US_ASCII);
        final UnsafeBuffer text = fresh(512);
        final int id = io.aeron.driver.status.PublisherLimit.allocate(
            text, manager, 3, 21, -5, 10, CHANNEL).id();
        manager.setCounterValue(id, 4096);
        manager.setCounterReferenceId(id, 8);
        print("counter.metadata", metadata, 512);
        print("counter.value", values, 128);
        final int next = io.aeron.driver.status.ClientHeartbeatTimestamp.allocate(text, manager, 77).id();
        final UnsafeBuffer record = new UnsafeBuffer(metadata, next * 512, 512);
        print("counter.heartbeat", record, 512);
        final int position = io.aeron.driver.status.SubscriberPos.allocate(
            text, manager, 3, 21, -5, 10, CHANNEL, 64).id();
        record.wrap(metadata, position * 512, 512);
        print("counter.subscriber-position", record, 512);
        final int channel = io.aeron.driver.status.SendChannelStatus.allocate(text, manager, 21, CHANNEL).id();
        record.wrap(metadata, channel * 512, 512);
        print("counter.channel-status", record, 512);
        final org.agrona.concurrent.status.AtomicCounter address = io.aeron.status.LocalSocketAddressStatus.allocate(
            text, manager, 21, channel, "snd-local-sockaddr", 14);
        io.aeron.status.LocalSocketAddressStatus.updateBindAddress(address, "127.0.0.1:40123", metadata);
        record.wrap(metadata, address.id() * 512, 512);
        print("counter.local-address", record, 512);
        for (final var counter : io.aeron.driver.status.SystemCounterDescriptor.values())
        {
            final UnsafeBuffer label = new UnsafeBuffer(counter.label().getBytes(StandardCharsets.US_ASCII));
            print("system-counter." + counter.id(), label, label.capacity());
        }
    }

    private static void records()
    {
        final UnsafeBuffer ring = fresh(64 + 768);
        final ManyToOneRingBuffer producer = new ManyToOneRingBuffer(ring);
        producer.consumerHeartbeatTime(123);
        producer.nextCorrelationId();
        producer.write(7, label(), 0, 5);
        print("ring", ring, 64 + 768);

        final UnsafeBuffer broadcast = fresh(64 + 128);
        final BroadcastTransmitter transmitter = new BroadcastTransmitter(broadcast);
        transmitter.transmit(7, label(), 0, 5);
        transmitter.transmit(8, label(), 0, 7);
        print("broadcast", broadcast, 64 + 128);

        final UnsafeBuffer errors = fresh(8192);
        final DistinctErrorLog log = new DistinctErrorLog(errors, () -> 55, StandardCharsets.UTF_8);
        log.record(new Quiet());
        print("error-log", errors, 64);

        final UnsafeBuffer report = fresh(4096);
        new io.aeron.driver.reports.LossReport(report).createEntry(4096, 55, -5, 10, CHANNEL, "10.0.0.1:5");
        print("loss-report", report, 192);
    }

    private static final class Quiet extends Exception
    {
        Quiet()
        {
            super("quiet", null, false, false);
        }
    }
}
