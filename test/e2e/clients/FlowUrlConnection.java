import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URL;

/** FlowUrlConnection ORIGIN: asks for a token, uses it, then goes without, with HttpURLConnection. */
public class FlowUrlConnection {
    static String ask(String method, String url, String... header) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setRequestMethod(method);
        connection.setReadTimeout(10_000);
        if (header.length == 2) connection.setRequestProperty(header[0], header[1]);
        try (var answer = connection.getInputStream()) {
            return new String(answer.readAllBytes());
        }
    }

    public static void main(String[] args) throws IOException {
        String origin = args[0];
        String token = ask("PUT", origin + "/latest/api/token", "X-aliyun-ecs-metadata-token-ttl-seconds", "60");
        ask("GET", origin + "/latest/meta-data/instance-id", "X-aliyun-ecs-metadata-token", token);
        ask("GET", origin + "/latest/meta-data/hostname");
    }
}
