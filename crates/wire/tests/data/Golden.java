// Writes one file of golden messages, made by the codecs of genuine Aeron.
//
//   javac -cp aeron-all-1.51.0.jar -d /tmp/golden Golden.java
//   java --add-opens java.base/jdk.internal.misc=ALL-UNNAMED -cp aeron-all-1.51.0.jar:/tmp/golden \
//        Golden cluster/aeron-cluster-codecs.xml io.aeron.cluster.codecs > cluster.txt
//
// The schema inside the jar tells names, order and types; the values are made up here. Each line is
// the message in hexadecimal, a blank, and what was put into it.
import java.io.InputStream;
import java.lang.reflect.Method;
import java.util.Locale;
import javax.xml.parsers.DocumentBuilderFactory;
import org.agrona.ExpandableArrayBuffer;
import org.agrona.MutableDirectBuffer;
import org.w3c.dom.Element;
import org.w3c.dom.Node;

public final class Golden
{
    private static int counter;
    private static boolean negative;

    public static void main(final String[] args) throws Exception
    {
        if (args.length == 1)
        {
            files(new java.io.File(args[0]));
            return;
        }
        final InputStream schema = Golden.class.getClassLoader().getResourceAsStream(args[0]);
        final var document = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(schema);
        final var messages = document.getElementsByTagName("sbe:message");
        System.out.println("# " + args[0] + " of genuine Aeron 1.51.0, schema " +
            document.getDocumentElement().getAttribute("id") + " version " +
            document.getDocumentElement().getAttribute("version"));
        for (int i = 0; i < messages.getLength(); i++)
        {
            negative = false;
            message((Element)messages.item(i), args[1]);
            negative = true;
            message((Element)messages.item(i), args[1]);
        }
    }

    private static void message(final Element message, final String codecs) throws Exception
    {
        counter = Integer.parseInt(message.getAttribute("id"));
        final String name = capital(message.getAttribute("name"));
        final Class<?> type = Class.forName(codecs + "." + name + "Encoder");
        final Class<?> headerType = Class.forName(codecs + ".MessageHeaderEncoder");
        final Object header = headerType.getConstructor().newInstance();
        final Object encoder = type.getConstructor().newInstance();
        final MutableDirectBuffer buffer = new ExpandableArrayBuffer();
        type.getMethod("wrapAndApplyHeader", MutableDirectBuffer.class, int.class, headerType)
            .invoke(encoder, buffer, 0, header);
        final String values = body(message, encoder);
        final int length = 8 + (int)type.getMethod("encodedLength").invoke(encoder);
        print(buffer, 0, length);
        System.out.println(" " + name + " { " + values + " }");
    }

    private static void print(final org.agrona.DirectBuffer buffer, final int from, final int to)
    {
        for (int i = from; i < to; i++)
        {
            System.out.printf("%02x", buffer.getByte(i));
        }
    }

    private static String body(final Element element, final Object encoder) throws Exception
    {
        final StringBuilder values = new StringBuilder();
        for (Node node = element.getFirstChild(); node != null; node = node.getNextSibling())
        {
            if (node instanceof Element)
            {
                final Element part = (Element)node;
                if ("reserved".equals(part.getAttribute("name")))
                {
                    continue;
                }
                values.append(values.length() == 0 ? "" : ", ");
                values.append(snake(part.getAttribute("name"))).append(": ");
                values.append(part(part, encoder));
            }
        }
        return values.toString();
    }

    private static String part(final Element part, final Object encoder) throws Exception
    {
        final String name = part.getAttribute("name");
        counter++;
        switch (part.getTagName())
        {
            case "data":
            {
                final byte[] bytes = new byte[negative ? 0 : 1 + counter % 5];
                for (int i = 0; i < bytes.length; i++)
                {
                    bytes[i] = (byte)(97 + (counter + i) % 26);
                }
                encoder.getClass().getMethod("put" + capital(name), byte[].class, int.class, int.class)
                    .invoke(encoder, bytes, 0, bytes.length);
                return java.util.Arrays.toString(bytes);
            }
            case "group":
            {
                final int count = negative ? 0 : 2;
                Object group = encoder.getClass().getMethod(name + "Count", int.class)
                    .invoke(encoder, count);
                final StringBuilder values = new StringBuilder("[");
                for (int i = 0; i < count; i++)
                {
                    group.getClass().getMethod("next").invoke(group);
                    values.append(i == 0 ? "" : ", ").append("_ { ");
                    values.append(body(part, group)).append(" }");
                }
                return values + "]";
            }
            default:
                return field(name, encoder);
        }
    }

    private static String field(final String name, final Object encoder) throws Exception
    {
        for (final Method method : encoder.getClass().getMethods())
        {
            if (!method.getName().equals(name) || method.getParameterCount() != 1)
            {
                continue;
            }
            final Class<?> type = method.getParameterTypes()[0];
            if (type == long.class)
            {
                final long value = (negative ? -1 : 1) * (0x0102030405060700L + counter);
                method.invoke(encoder, value);
                return Long.toString(value);
            }
            if (type == int.class)
            {
                final int value = (negative ? -1 : 1) * (0x01020300 + counter);
                method.invoke(encoder, value);
                return Integer.toString(value);
            }
            if (type == short.class)
            {
                final short value = (short)(counter & 0x7f);
                method.invoke(encoder, value);
                return Short.toString(value);
            }
            if (type.isEnum())
            {
                final Object[] constants = type.getEnumConstants();
                // The last one is the null value.
                final Object value = constants[(negative ? counter + 1 : counter) % (constants.length - 1)];
                method.invoke(encoder, value);
                return variant(value.toString());
            }
        }
        throw new IllegalStateException(encoder.getClass() + " " + name);
    }

    private static void files(final java.io.File dir) throws Exception
    {
        System.out.println("# files of a cluster directory, made by genuine Aeron 1.51.0");
        try (var log = new io.aeron.cluster.RecordingLog(dir, true))
        {
            log.appendTerm(5, 0, 0, 1000);
            log.appendSnapshot(6, 0, 0, 4096, 1001, 0);
            log.appendSnapshot(7, 0, 0, 4096, 1002, -1);
            log.appendStandbySnapshot(8, 0, 0, 8192, 1003, 0, "standby.example:8010");
            log.appendStandbySnapshot(9, 0, 0, 8192, 1004, -1, "s:1");
            // The only way to mark a single entry is not public.
            final var invalidate = log.getClass().getDeclaredMethod("invalidateEntry", int.class);
            invalidate.setAccessible(true);
            invalidate.invoke(log, 1);
            log.commitLogPosition(0, 8224);
            log.appendTerm(5, 1, 8224, 1005);
        }
        file("recording.log", new java.io.File(dir, "recording.log"), Integer.MAX_VALUE);
        try (var state = new io.aeron.cluster.NodeStateFile(dir, true, 0))
        {
            state.updateCandidateTermId(7, 96, 1700);
        }
        file("node-state.dat", new java.io.File(dir, "node-state.dat"), 128);
    }

    private static void file(final String name, final java.io.File file, final int limit) throws Exception
    {
        final byte[] bytes = java.nio.file.Files.readAllBytes(file.toPath());
        final var buffer = new org.agrona.concurrent.UnsafeBuffer(bytes);
        print(buffer, 0, Math.min(limit, bytes.length));
        System.out.println(" " + name);
    }

    private static String capital(final String name)
    {
        return name.substring(0, 1).toUpperCase(Locale.ROOT) + name.substring(1);
    }

    private static String snake(final String name)
    {
        return name.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
    }

    private static String variant(final String constant)
    {
        if ("TRUE".equals(constant) || "FALSE".equals(constant))
        {
            return constant.toLowerCase(Locale.ROOT);
        }
        final StringBuilder name = new StringBuilder();
        for (final String word : constant.split("_"))
        {
            name.append(word.charAt(0)).append(word.substring(1).toLowerCase(Locale.ROOT));
        }
        return name.toString();
    }
}
