"""What `lfr-edge evaluate bench --profile` times. Who moves such a function changes its line here; a test tells."""

from lfr_edge.evaluation.bench.profile import ENGINE, WAIT, Point

# In the order in which a picture meets them. A function's time is without that of the others that it calls.
POINTS = (
    Point("decode", "lfr_edge.adapters.av_source", "_Container.step"),
    Point("convert, copy", "lfr_edge.adapters.av_picture", "Converter.leased"),
    Point(WAIT, "lfr_edge.pipeline.mailbox", "Mailbox.wait_ready"),
    Point(WAIT, "lfr_edge.pipeline.mailbox", "Mailbox.take"),
    Point("lease", "lfr_edge.biometrics.arena", "Arena.lease"),
    Point("wipe", "lfr_edge.biometrics.arena", "Lease._give_back"),
    Point("detect", "lfr_edge.pipeline.extract", "Extractor.start"),
    Point("detect", "lfr_edge.pipeline.extract", "FaceSearch.wait"),
    Point("detect", "lfr_edge.pipeline.extract", "FaceSearch.faces"),
    Point(ENGINE, "lfr_edge.adapters.openvino_engine", "_Graph.finish"),
    Point(ENGINE, "lfr_edge.adapters.openvino_engine", "_Graph._run_on_zeros"),
    Point("decode outputs", "lfr_edge.pipeline.extract", "decode"),
    Point("track", "lfr_edge.vision.tracking", "Tracker.update"),
    Point("track", "lfr_edge.vision.tracking", "Tracker.expire"),
    Point("embed", "lfr_edge.pipeline.extract", "Extractor.embed"),
    Point("align", "lfr_edge.pipeline.extract", "Extractor._align"),
    Point("quality", "lfr_edge.pipeline.extract", "Extractor._assess"),
    Point("fuse", "lfr_edge.pipeline.tracks", "Track.fuse"),
    Point("keep sample", "lfr_edge.pipeline.tracks", "Track.keep_sample"),
    Point("search", "lfr_edge.watchlist.references", "Watchlist.search"),
    Point("seal", "lfr_edge.pipeline.recognise", "Recogniser._seal"),
    Point("forget", "lfr_edge.pipeline.extract", "Extractor.forget_remains"),
    Point("forget", "lfr_edge.pipeline.extract", "Extractor.forget"),
    Point("rest of step", "lfr_edge.pipeline.recognise", "Recogniser.start"),
    Point("rest of step", "lfr_edge.pipeline.recognise", "Recogniser.finish"),
    Point("rest of thread", "lfr_edge.van.stages", "Stage.run"),
)
