import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/** FlowHttpClient ORIGIN: asks for a token, uses it, then goes without, with java.net.http. */
public class FlowHttpClient {
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    static String ask(String method, String url, String... header) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(10));
        request.method(method, method.equals("PUT") ? BodyPublishers.ofString("") : BodyPublishers.noBody());
        if (header.length == 2) request.header(header[0], header[1]);
        return CLIENT.send(request.build(), BodyHandlers.ofString()).body();
    }

    public static void main(String[] args) throws Exception {
        String origin = args[0];
        String token = ask("PUT", origin + "/latest/api/token", "X-aliyun-ecs-metadata-token-ttl-seconds", "60");
        ask("GET", origin + "/latest/meta-data/instance-id", "X-aliyun-ecs-metadata-token", token);
        ask("GET", origin + "/latest/meta-data/hostname");
    }
}
