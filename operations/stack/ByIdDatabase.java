import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.bson.ObjectId;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.atomic.LongAdder;
import java.util.regex.Pattern;
import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;

/**
 * A database whose collections look a document up by its {@code _id} also when the query says more than that.
 *
 * <p>The stock server takes the index of {@code _id} only for a query of {@code _id} alone: each compare-and-set, which
 * names a version as well, reads the whole collection. Here the {@code _id} leads to the few documents, and the stock
 * matcher judges those against the whole query. What a client sees stays the same, errors and the order of results
 * included; a query for which that isn't certain is left to the stock server.
 */
final class ByIdDatabase extends H2Database {

  private static final String ID = "_id";

  private static final LongAdder EXAMINED = new LongAdder();

  private final MVStore store;

  ByIdDatabase(String name, MVStore store, CursorRegistry cursors) {
    super(name, store, cursors);
    this.store = store;
    super.initializeNamespacesAndIndexes();
  }

  /** How many documents have been held against a query since this process started. */
  static long examined() {
    return EXAMINED.sum();
  }

  /** The stock constructor calls this, and with it what is below, before there is a store. */
  @Override
  protected void initializeNamespacesAndIndexes() {}

  /** As in the stock server, down to the names of the maps: files that it has written stay readable. */
  @Override
  protected MongoCollection<Object> openOrCreateCollection(String name, CollectionOptions options) {
    String fullName = getFullCollectionNamespace(name);
    MVMap<Object, Document> documents = store.openMap("databases." + fullName);
    MVMap<String, Object> meta = store.openMap("meta." + fullName);
    return new ByIdCollection(this, name, options, documents, meta, cursorRegistry);
  }

  private static final class ByIdCollection extends H2Collection {

    private final MVMap<Object, Document> documents;

    ByIdCollection(
        MongoDatabase database, String name, CollectionOptions options, MVMap<Object, Document> documents,
        MVMap<String, Object> meta, CursorRegistry cursors) {
      super(database, name, options, documents, meta, cursors);
      this.documents = documents;
    }

    @Override
    protected boolean documentMatchesQuery(Document document, Document query) {
      EXAMINED.increment();
      return super.documentMatchesQuery(document, query);
    }

    @Override
    protected QueryResult queryDocuments(
        Document query, Document orderBy, int skip, int limit, int batchSize, Document projection) {
      boolean natural = orderBy != null && orderBy.containsKey("$natural");
      boolean indexed = getIndexes().stream().anyMatch(index -> index.canHandle(query));
      Index<Object> byId = natural || indexed || !Conditions.nameDocuments(query) ? null : indexOfIds();
      if (byId == null) {
        return super.queryDocuments(query, orderBy, skip, limit, batchSize, projection);
      }
      TreeSet<Object> positions = new TreeSet<>(documents.getKeyType()); // the order of a scan
      byId.getPositions(new Document(ID, query.get(ID))).forEach(positions::add);
      // A count holds no lock: a document may be deleted since its position was read.
      return matchDocumentsFromStream(
          positions.stream().map(this::getDocument).filter(Objects::nonNull),
          query, orderBy, skip, limit, batchSize, projection);
    }

    private Index<Object> indexOfIds() {
      return getIndexes().stream()
          .filter(index -> index.isUnique() && index.getKeys().size() == 1)
          .filter(index -> index.getKeys().get(0).getKey().equals(ID))
          .findFirst()
          .orElse(null);
    }
  }

  /**
   * Which queries lead to documents by their ids.
   *
   * <p>The stock server finds a mistake in a query when it holds it against a document, so a scan may answer with an
   * error where the named document alone doesn't. Only conditions that never fail are therefore let through.
   */
  private static final class Conditions {

    /** No empty part, no position in an array, nothing that starts with a dollar. */
    private static final Pattern PATH = Pattern.compile("[^.$\\d][^.]*(\\.[^.$\\d][^.]*)*");

    private static final Set<String> COMBINED = Set.of("$and", "$or", "$nor");
    private static final Set<String> WITH_A_VALUE = Set.of("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$exists");
    private static final Set<String> WITH_VALUES = Set.of("$in", "$nin");

    private Conditions() {}

    static boolean nameDocuments(Document query) {
      return query.size() > 1 && isIds(query.get(ID)) && neverFail(query);
    }

    private static boolean isIds(Object wanted) {
      if (wanted instanceof Document condition && condition.keySet().equals(Set.of("$in"))) {
        return condition.get("$in") instanceof Collection<?> ids && ids.stream().allMatch(Conditions::isId);
      }
      return isId(wanted);
    }

    /** Equal here means equal in the index, and to the matcher. */
    private static boolean isId(Object value) {
      return isNumber(value) || value instanceof String || value instanceof ObjectId || value instanceof UUID;
    }

    private static boolean isNumber(Object value) {
      return value instanceof Integer || value instanceof Long || value instanceof Double;
    }

    private static boolean neverFail(Document query) {
      return query.entrySet().stream().allMatch(
          part -> COMBINED.contains(part.getKey())
              ? part.getValue() instanceof List<?> queries && !queries.isEmpty()
                  && queries.stream().allMatch(one -> one instanceof Document inner && neverFail(inner))
              : PATH.matcher(part.getKey()).matches() && neverFails(part.getValue()));
    }

    private static boolean neverFails(Object wanted) {
      if (wanted instanceof Document condition) {
        return !condition.isEmpty() && condition.entrySet().stream().allMatch(Conditions::isComparison);
      }
      return isPlain(wanted);
    }

    private static boolean isComparison(Map.Entry<String, Object> part) {
      if (WITH_VALUES.contains(part.getKey())) {
        return part.getValue() instanceof Collection<?> values && values.stream().allMatch(Conditions::isPlain);
      }
      return WITH_A_VALUE.contains(part.getKey()) && isPlain(part.getValue());
    }

    private static boolean isPlain(Object value) {
      return value == null || isId(value) || value instanceof Boolean || value instanceof Instant;
    }
  }
}
