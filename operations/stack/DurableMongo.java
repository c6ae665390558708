import static java.nio.file.StandardCopyOption.ATOMIC_MOVE;
import static java.nio.file.StandardCopyOption.REPLACE_EXISTING;
import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.TRUNCATE_EXISTING;
import static java.nio.file.StandardOpenOption.WRITE;

import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import io.netty.channel.Channel;
import java.io.IOException;
import java.net.BindException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.h2.mvstore.DataUtils;
import org.h2.mvstore.MVStore;
import org.h2.mvstore.MVStoreException;

/**
 * A MongoDB stand-in for one machine: mongo-java-server over an H2 MVStore file, made durable.
 *
 * <p>What it adds to the stock server:
 * <ul>
 *   <li>Writes run one at a time, and none is acknowledged before it is in the file. One commit serves every writer
 *       that waits for it, so the cost is shared under load.
 *   <li>An acknowledged write survives the death of this process. The file is flushed to the disk once a second, so at
 *       most about a second of acknowledged writes is lost with the whole machine.
 *   <li>Wire version 13 (MongoDB 5.0): the stock server says 8, which current drivers refuse.
 *   <li>A query that names a document's id and says more as well doesn't scan the collection (ByIdDatabase.java).
 *   <li>The file is compacted while it runs, in short slices.
 *   <li>A store that can no longer be written (disk full, say) ends the process: what was not committed must not be read.
 *   <li>The version that has been flushed is noted beside the file. H2 opens a file whose end is damaged at an older
 *       version, or as an empty one, without a word; here that is refused.
 * </ul>
 *
 * <p>Usage: {@code java DurableMongo HOST PORT FILE}. Exit codes: 2 usage, 3 the file is in use, 4 the file can't be
 * opened, 5 the address is taken, 6 the store failed while running, 7 the file is damaged.
 */
public final class DurableMongo {

  private static final int DAMAGED = 7;
  private static final int WIRE_VERSION = 13;
  private static final List<Integer> SERVER_VERSION = List.of(5, 0, 0);

  /** How long a chunk that is no longer referenced stays in the file: longer than the interval between two flushes. */
  private static final int RETENTION_MS = 5_000;

  private static final int FLUSH_INTERVAL_MS = 1_000;
  private static final int COMPACTION_INTERVAL_MS = 10_000;
  private static final int COMPACTION_SLICE_MS = 250;
  private static final long COMPACTION_FLOOR_BYTES = 64L << 20;
  private static final int COMPACTION_BELOW_PERCENT = 75;

  /** Commands that change nothing. Whatever isn't named here (also what this list doesn't know) counts as a write. */
  private static final Set<String> READS =
      Set.of(
          "aggregate", "buildinfo", "collstats", "connectionstatus", "count", "dbstats", "distinct", "endsessions",
          "find", "getlog", "getmore", "getparameter", "hello", "hostinfo", "ismaster", "killcursors",
          "listcollections", "listdatabases", "listindexes", "ping", "serverstatus", "whatsmyuri");

  private DurableMongo() {}

  public static void main(String[] arguments) {
    if (arguments.length != 3) {
      die(2, "usage: DurableMongo HOST PORT FILE", null);
    }
    String host = arguments[0];
    int port = Integer.parseInt(arguments[1]);
    Flushed flushed = new Flushed(Path.of(arguments[2] + ".flushed"));
    MVStore store = open(arguments[2], flushed);
    Backend backend = new Backend(store, flushed);
    MongoServer server = new MongoServer(backend);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      backend.flush();
      backend.stopping = true;
      server.shutdownNow(); // closes the backend, which commits and closes the store
    }));
    ScheduledExecutorService upkeep = Executors.newSingleThreadScheduledExecutor(task -> {
      Thread thread = new Thread(task, "upkeep");
      thread.setDaemon(true);
      return thread;
    });
    upkeep.scheduleWithFixedDelay(backend::flush, FLUSH_INTERVAL_MS, FLUSH_INTERVAL_MS, TimeUnit.MILLISECONDS);
    upkeep.scheduleWithFixedDelay(
        backend::compact, COMPACTION_INTERVAL_MS, COMPACTION_INTERVAL_MS, TimeUnit.MILLISECONDS);
    try {
      server.bind(host, port);
    } catch (Exception refused) {
      boolean taken = refused instanceof BindException || refused.getCause() instanceof BindException;
      store.close();
      String address = host + ":" + port;
      die(5, taken ? "the address " + address + " is taken" : "can't listen on " + address, taken ? null : refused);
    }
    System.out.println("listening on " + server.getLocalAddress());
  }

  private static MVStore open(String file, Flushed flushed) {
    try {
      long wanted = flushed.read();
      MVStore store = new MVStore.Builder().fileName(file).autoCommitDisabled().open();
      store.setRetentionTime(RETENTION_MS);
      store.setVersionsToKeep(0);
      if (store.getCurrentVersion() < wanted) {
        String found = file + " holds version " + store.getCurrentVersion();
        store.closeImmediately();
        die(DAMAGED, found + ", but version " + wanted + " had been stored", null);
      }
      return store;
    } catch (IOException | NumberFormatException unreadable) {
      die(4, "can't read the version that " + file + " was flushed at", unreadable);
      throw new IllegalStateException(unreadable); // not reached
    } catch (MVStoreException failure) {
      if (isDamage(failure)) {
        die(DAMAGED, file + " is damaged", failure);
      }
      if (failure.getErrorCode() == DataUtils.ERROR_FILE_LOCKED) {
        die(3, file + " is in use by another process; stop that one first", null);
      }
      die(4, "can't open " + file + ": is the disk full, the folder read-only or the file damaged?", failure);
      throw failure; // not reached
    }
  }

  private static boolean isDamage(MVStoreException failure) {
    return switch (failure.getErrorCode()) {
      case DataUtils.ERROR_FILE_CORRUPT, DataUtils.ERROR_READING_FAILED, DataUtils.ERROR_CHUNK_NOT_FOUND -> true;
      default -> false;
    };
  }

  /** Says why in one line on stderr (the supervisor shows it) and ends the process without running shutdown hooks. */
  private static void die(int code, String reason, Throwable cause) {
    if (cause != null) {
      cause.printStackTrace();
    }
    System.err.println("ERROR: " + reason);
    System.err.flush();
    Runtime.getRuntime().halt(code);
  }

  /** The newest version that is known to be on the disk, in a small file that is replaced whole. */
  private record Flushed(Path note) {

    long read() throws IOException {
      return Files.exists(note) ? Long.parseLong(Files.readString(note).strip()) : 0;
    }

    void write(long version) throws IOException {
      Path unfinished = note.resolveSibling(note.getFileName() + ".new");
      try (FileChannel channel = FileChannel.open(unfinished, CREATE, WRITE, TRUNCATE_EXISTING)) {
        channel.write(ByteBuffer.wrap((version + "\n").getBytes(StandardCharsets.US_ASCII)));
        channel.force(true);
      }
      Files.move(unfinished, note, ATOMIC_MOVE, REPLACE_EXISTING);
    }
  }

  private static final class Backend extends H2Backend {

    /** Held while a write runs and while its result is committed. Guards {@link #applied}. */
    private final Object writing = new Object();

    /** Held by the one thread that commits; the others queue here. Guards {@link #committed}. Taken before writing. */
    private final Object committing = new Object();

    private final MVStore store;
    private long applied;
    private long committed;
    private long committedVersion;
    private volatile long flushed;
    private volatile boolean stopping;
    private final Flushed note;

    Backend(MVStore store, Flushed note) {
      super(store);
      this.store = store;
      this.note = note;
      committedVersion = store.getCurrentVersion();
      applied = 1; // what was found in the file is noted with the next flush, even if nothing is written
      committed = 1;
      version(new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
          return SERVER_VERSION;
        }

        @Override
        public int getWireVersion() {
          return WIRE_VERSION;
        }
      });
    }

    /** Runs for what is found in the file before this class's own fields are set. */
    @Override
    protected MongoDatabase openOrCreateDatabase(String name) {
      return new ByIdDatabase(name, getMvStore(), getCursorRegistry());
    }

    @Override
    public Document handleCommand(Channel channel, String database, String command, Document query) {
      try {
        if (isRead(command, query)) {
          // What a long scan has still to read must not be compacted away, nor the chunks of old commits be used again.
          MVStore.TxCounter scan = store.registerVersionUsage();
          try {
            return super.handleCommand(channel, database, command, query);
          } finally {
            store.deregisterVersionUsage(scan);
          }
        }
        long ticket = 0;
        try {
          synchronized (writing) {
            ticket = ++applied; // also for a command that fails half-way: what it did becomes durable too
            return super.handleCommand(channel, database, command, query);
          }
        } finally {
          commitUpTo(ticket);
        }
      } catch (MVStoreException failure) {
        fail(failure);
        throw failure;
      }
    }

    /**
     * The stock answer looks up the host's own name, which fails on machines that can't resolve it. What was examined
     * stands where MongoDB itself tells it.
     */
    @Override
    public Document getServerStatus() {
      Document metrics = new Document("queryExecutor", new Document("scannedObjects", ByIdDatabase.examined()));
      return new Document("host", "127.0.0.1")
          .append("process", "DurableMongo")
          .append("pid", Math.toIntExact(ProcessHandle.current().pid()))
          .append("metrics", metrics)
          .append("ok", 1.0);
    }

    private static boolean isRead(String command, Document query) {
      String name = command.toLowerCase(java.util.Locale.ROOT);
      if (!READS.contains(name)) {
        return false;
      }
      if (!name.equals("aggregate")) {
        return true;
      }
      String stages = String.valueOf(query.get("pipeline"));
      return !stages.contains("$out") && !stages.contains("$merge");
    }

    /** Returns when the write with this ticket is in the file. The first to arrive commits for all who wait. */
    private void commitUpTo(long ticket) {
      synchronized (committing) {
        if (committed >= ticket) {
          return;
        }
        synchronized (writing) {
          store.commit();
          committedVersion = store.getCurrentVersion();
          committed = applied;
        }
      }
    }

    /** Makes what is committed survive the machine as well. */
    private void flush() {
      try {
        long reached;
        long version;
        synchronized (committing) {
          reached = committed;
          version = committedVersion;
        }
        if (reached > flushed) {
          store.sync();
          note.write(version);
          flushed = reached;
        }
      } catch (MVStoreException failure) {
        fail(failure);
      } catch (IOException failure) {
        die(6, "the store's version can't be noted (is the disk full?); nothing that was acknowledged is lost", failure);
      }
    }

    /** One short slice of compaction, when the file is large and much of it is no longer used. */
    private void compact() {
      try {
        synchronized (writing) {
          boolean large = store.getFileStore().size() > COMPACTION_FLOOR_BYTES;
          int used = Math.min(store.getFileStore().getFillRate(), store.getFileStore().getChunksFillRate());
          if (large && used < COMPACTION_BELOW_PERCENT) {
            store.compactFile(COMPACTION_SLICE_MS);
            store.setRetentionTime(RETENTION_MS); // compaction sets it to nothing for itself
          }
        }
      } catch (MVStoreException failure) {
        fail(failure);
      }
    }

    private void fail(MVStoreException failure) {
      if (stopping || failure.getErrorCode() == DataUtils.ERROR_CLOSED && store.getPanicException() == null) {
        return;
      }
      if (isDamage(failure)) {
        die(DAMAGED, "the store's file is damaged", failure);
      }
      die(6, "the store failed (is the disk full?); nothing that was acknowledged is lost", failure);
    }
  }
}
