import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.AclCommand;

/** Runs each line of a file as kafka-acls.sh would, in one Java process. Ends with 1 at the first that fails. */
public class AclCommands {
    public static void main(String[] arguments) throws Exception {
        Exit.setExitProcedure((code, message) -> {
            if (code != 0) {
                Runtime.getRuntime().halt(code);
            }
        });
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            AclCommand.main(line.split(" "));
        }
        Runtime.getRuntime().halt(0);
    }
}
