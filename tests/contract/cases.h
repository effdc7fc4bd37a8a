/* The cases that are kept in files of their own; suite.c lists and runs them. */
#ifndef CONTRACT_CASES_H
#define CONTRACT_CASES_H

/* cases_feed.c */
void delivers_in_order_after_the_confirmation(void **state);
void nothing_comes_after_unsubscribed(void **state);
void feeds_may_be_ended_before_they_are_confirmed(void **state);
void many_topics_do_not_mix(void **state);
void what_is_followed_again_misses_nothing(void **state);
void payloads_stay_as_they_are(void **state);
void keys_stay_as_they_are(void **state);
void headers_stay_as_they_are(void **state);
void a_tombstone_is_not_an_empty_payload(void **state);
void refuses_a_partition_that_is_not_there(void **state);

/* cases_cut.c */
void counts_who_receives(void **state);
void instances_hear_each_other(void **state);
void a_cut_is_told_by_a_gap(void **state);
void holes_lie_behind_gaps(void **state);
void a_log_loses_nothing_by_a_cut(void **state);

/* cases_log.c */
void locates_the_ends(void **state);
void locates_the_last(void **state);
void locates_by_key(void **state);
void locates_by_time(void **state);
void locates_after_a_cursor(void **state);
void tells_what_has_expired(void **state);
void reads_in_pieces(void **state);
void reads_one_key(void **state);
void past_and_feed_join_exactly(void **state);
void positions_survive_their_text(void **state);
void broken_positions_are_refused(void **state);

/* cases_parts.c */
void locates_the_last_over_partitions(void **state);
void locates_after_a_cursor_of_partitions(void **state);
void a_partition_that_the_cursor_lacks(void **state);
void limits_over_partitions(void **state);
void reads_partitions_in_pieces(void **state);
void past_and_feed_of_partitions_join_exactly(void **state);

#endif
