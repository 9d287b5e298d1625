// java Stylize PHOTO STYLE_PICTURE OUT_FOLDER
// Environment: STYLEWIRE_TARGET, STYLEWIRE_CA (a PEM file turns TLS on), STYLEWIRE_TOKEN.
import com.google.protobuf.ByteString;
import com.google.rpc.*;
import io.grpc.*;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.*;
import java.io.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import stylewire.v1.*;

public class Stylize {
  public static void main(String[] args) throws Exception {
    String ca = System.getenv("STYLEWIRE_CA"), token = System.getenv("STYLEWIRE_TOKEN");
    ChannelCredentials credentials = ca == null ? InsecureChannelCredentials.create()
        : TlsChannelCredentials.newBuilder().trustManager(new File(ca)).build();
    ManagedChannel channel = Grpc.newChannelBuilder(System.getenv("STYLEWIRE_TARGET"), credentials)
        .maxInboundMessageSize(64 << 20).build();
    Metadata headers = new Metadata();
    if (token != null) headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    ClientInterceptor bearer = MetadataUtils.newAttachHeadersInterceptor(headers);
    var client = StylizerGrpc.newBlockingStub(channel).withInterceptors(bearer);

    Image content = Image.newBuilder().setEncoded(ByteString.copyFrom(Files.readAllBytes(Path.of(args[0])))).build();
    Image painting = Image.newBuilder().setEncoded(ByteString.copyFrom(Files.readAllBytes(Path.of(args[1])))).build();
    WeightedStyle style = WeightedStyle.newBuilder().setImage(painting).build();
    WeightedStyle named = WeightedStyle.newBuilder().setName("java-example").build();
    StylizeRequest request = StylizeRequest.newBuilder().setContent(content).addStyles(style).build();

    // A style kept under a name, then used by it; and a blend with the picture itself, in equal parts.
    client.createStyle(CreateStyleRequest.newBuilder().setName("java-example").addStyles(style).setOverwrite(true).build());
    WeightedStyle own = WeightedStyle.newBuilder().setImage(content).build();
    for (var each : Map.of("named", List.of(named), "blend", List.of(named, own)).entrySet()) {
      var answer = client.stylize(StylizeRequest.newBuilder().setContent(content).addAllStyles(each.getValue()).build());
      Files.write(Path.of(args[2], each.getKey() + ".jpg"), answer.getImage().getEncoded().toByteArray());
    }

    // Twenty frames over one stream: the first message carries the style, the others a picture each.
    var frames = new LinkedBlockingQueue<Optional<StylizeResponse>>();
    var stream = StylizerGrpc.newStub(channel).withInterceptors(bearer).stylizeStream(new StreamObserver<>() {
      public void onNext(StylizeResponse frame) { frames.add(Optional.of(frame)); }
      public void onError(Throwable error) { System.out.println(error); frames.add(Optional.empty()); }
      public void onCompleted() { frames.add(Optional.empty()); }
    });
    stream.onNext(StylizeStreamRequest.newBuilder().setSetup(StreamSetup.newBuilder().addStyles(named)).build());
    for (int frame = 0; frame < 20; frame++) stream.onNext(StylizeStreamRequest.newBuilder().setContent(content).build());
    stream.onCompleted();
    int count = 0;
    while (frames.take().isPresent()) count++;
    System.out.println("frames " + count);

    // A deadline that cannot be met, a call that is canceled, and the details of an error.
    System.out.println("deadline " + errorOf(() -> client.withDeadlineAfter(1, TimeUnit.MILLISECONDS).stylize(request)).getStatus().getCode());
    var context = io.grpc.Context.current().withCancellation();
    new Timer(true).schedule(new TimerTask() { public void run() { context.cancel(null); } }, 2);
    System.out.println("cancel " + errorOf(() -> context.run(() -> client.stylize(request))).getStatus().getCode());
    var wrong = request.toBuilder().setOptions(StylizeOptions.newBuilder().setStrength(2)).build();
    for (var detail : StatusProto.fromThrowable(errorOf(() -> client.stylize(wrong))).getDetailsList()) {
      if (detail.is(BadRequest.class)) System.out.println(detail.unpack(BadRequest.class).getFieldViolations(0));
      if (detail.is(RetryInfo.class)) System.out.println(detail.unpack(RetryInfo.class).getRetryDelay());
    }
    channel.shutdown();
  }

  static StatusRuntimeException errorOf(Runnable call) {
    try { call.run(); } catch (StatusRuntimeException error) { return error; }
    throw new AssertionError("the call succeeded");
  }
}
