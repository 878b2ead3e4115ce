/// What each metric means, by the name it is shown under: the text of its `HELP` line. Docs/Reference/metrics.md says the
/// same at more length.
package enum MetricHelp {
    package static let texts: [String: String] = [
        "aisbf_answer_bytes_total": "bytes of answers sent to buyers",
        "aisbf_control_inbox_dropped_total": "link frames the control loop had no room for",
        "aisbf_equivocations_total": "two different records under one version: the signer's fault",
        "aisbf_errors_total": "failed requests by error code",
        "aisbf_forward_seconds": "how long requests of other nodes' buyers took here",
        "aisbf_forwards_checked_apart_total":
            "forwarded requests checked on another thread: large, many at once, a buyer's first, or of a peer that broke rules",
        "aisbf_forwards_refused_total":
            "forwarded requests that were refused: signature, repeated, destination or access",
        "aisbf_forwards_served_total": "requests of other nodes' buyers that were served here",
        "aisbf_http_responses_total": "answers to buyers by class of status",
        "aisbf_link_failures_total": "links that could not be made or broke",
        "aisbf_link_frames_sent_total": "gossip frames sent",
        "aisbf_link_peers_blocked_total": "peers shut out after too many refused records",
        "aisbf_links": "links to other nodes that are up",
        "aisbf_metric_series_refused_total":
            "metrics that were not kept: too many series, or a name of another kind",
        "aisbf_model_request_seconds": "how long the requests of a provider's model took",
        "aisbf_model_requests_total": "requests that reached a provider, by its model and how they ended",
        "aisbf_quota_holds": "requests under way for which something of a quota is held",
        "aisbf_quota_refusals_total": "requests that a limit of their key or user refused",
        "aisbf_record_cache_skipped_total": "records or peers the store refused to keep",
        "aisbf_records_accepted_total": "records taken: new ones and newer versions",
        "aisbf_records_rejected_total": "records refused; each is blamed on the link it came by",
        "aisbf_records_removed_total": "records that expired or were withdrawn",
        "aisbf_request_first_byte_seconds": "from the head of a request to the head of its answer",
        "aisbf_request_seconds": "from the head of a request to the end of its answer",
        "aisbf_store_writable": "1 while the disk takes what the node stores, else 0",
        "aisbf_store_write_failures_total": "writes that the disk did not take",
        "aisbf_tokens_total": "tokens of answered requests of buyers, by direction",
        "aisbf_usage_writes_failed_total": "batches of usage that the disk did not take; they are tried again",
        "aisbf_token_derivations_total": "Argon2id runs for tokens minted elsewhere; full were not run",
        "aisbf_upstream_failures_total": "requests that failed at an upstream of this node's own, by reason",
        "aisbf_upstream_key_rests_total": "how often a key of an upstream was refused or had enough, by reason",
        "aisbf_upstream_held_total": "requests that had to wait for an upstream to wake",
        "aisbf_worker_bad_frames_total":
            "messages of workers that could not be used: unreadable, unknown, or replies to what was never asked",
        "aisbf_worker_closed_total": "sessions that ended, by reason",
        "aisbf_worker_deferred_total":
            "workers told to come back in some seconds, because many came at once or there was no room",
        "aisbf_worker_refused_total": "workers that were not let in",
        "aisbf_worker_sessions": "workers attached now",
        "aisbf_worker_unmatched_replies_total": "replies to requests that are over",
    ]
}
