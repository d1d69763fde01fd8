/* Submit, find, poll, reap: one job, two attempts, two agents that meet only in the record, and a provider.
 *
 * The record changes in atomic steps (a transaction); so does the provider (a call that was served). Between any two of
 * them an agent may die, or stall for as long as it likes and go on with what it knew. The provider loses calls and
 * jobs, lists what it took late, and has jobs that never end, each as often as FAULTS allows in all.
 *
 * Each of NO_INTENT, NO_FIND, NO_LAG, NO_CAS and NO_REAPER takes one mechanism away; the search must then fail.
 */
#ifndef FAULTS
#define FAULTS 2
#endif
#define ATTEMPTS 2

mtype = { NONE, INTENT, SUBMITTED, SUCCEEDED, LOST, READY, RUNNING, DONE, FAILED };

mtype job = READY;
mtype rec[3] = NONE;	/* by number of the attempt, from 1 */
byte attempts, results, faults;

/* copies of an attempt's job at the provider: taken, but not listed yet; listed; listed and never to end; ended with a
   result */
byte unlisted[3], listed[3], stuck[3], ended[3];

#define live(x)		(rec[x] == INTENT || rec[x] == SUBMITTED)
#define terminal(x)	(rec[x] == SUCCEEDED || rec[x] == LOST)
#define shown(x)	(listed[x] + stuck[x] + ended[x] > 0)
#define has(x)		(shown(x) || unlisted[x] > 0)

#ifdef NO_LAG
#define absent(x)	(!shown(x))
#else
#define absent(x)	(!has(x))	/* not listed, and outside of the listing lag */
#endif

#ifdef NO_CAS
#define accepts(x)	true
#else
#define accepts(x)	live(x)
#endif

/* what an agent with empty hands does about attempt x */
#define look_after(x) \
	:: atomic { a == 0 && rec[x] == INTENT && shown(x) -> rec[x] = SUBMITTED }			/* adopt */ \
	:: atomic { FIND && a == 0 && rec[x] == INTENT && absent(x) -> assert(!has(x)); a = x }		/* submit again */ \
	:: atomic { rec[x] == SUBMITTED && absent(x) -> rec[x] = LOST; next() }				/* poll */ \
	:: atomic { rec[x] == SUBMITTED && stuck[x] > 0 && listed[x] + ended[x] == 0 -> stuck[x]--; rec[x] = LOST; next() } \
	:: atomic { ended[x] > 0 && accepts(x) -> \
		ended[x]--; rec[x] = SUCCEEDED; job = DONE; results++; assert(results == 1) } \
	:: atomic { ended[x] > 0 && !accepts(x) -> ended[x]-- }						/* late: audit only */ \
	:: atomic { REAPER && terminal(x) && listed[x] > 0 -> listed[x]-- }				/* reap */ \
	:: atomic { REAPER && terminal(x) && stuck[x] > 0 -> stuck[x]-- }

#ifdef NO_FIND
#define FIND	false
#else
#define FIND	true
#endif
#ifdef NO_REAPER
#define REAPER	false
#else
#define REAPER	true
#endif

inline next() {
	if
	:: attempts < ATTEMPTS -> job = READY
	:: else -> job = FAILED
	fi
}

proctype Agent() {
	byte a;			/* the attempt in its hands, about to be submitted */
	bool sent;		/* the provider was asked, the record does not say so yet */
end:	do
	:: atomic { a == 0 && job == READY ->
		attempts++; a = attempts; job = RUNNING
#ifndef NO_INTENT
		; rec[a] = INTENT
#endif
	   }
	:: atomic { a != 0 && !sent -> assert(rec[a] != NONE); unlisted[a]++; sent = true }
	:: atomic { a != 0 && !sent && faults < FAULTS -> faults++; a = 0 }		/* the call is lost */
	:: atomic { sent ->
		if
		:: rec[a] == INTENT -> rec[a] = SUBMITTED
		:: else
		fi;
		sent = false; a = 0 }
	:: atomic { a != 0 && faults < FAULTS -> faults++; sent = false; a = 0 }	/* it dies, another one starts */
	look_after(1)
	look_after(2)
	od
}

#define run_copies(x) \
	:: atomic { unlisted[x] > 0 -> unlisted[x]--; listed[x]++ } \
	:: atomic { listed[x] > 0 -> listed[x]--; ended[x]++ } \
	:: atomic { listed[x] > 0 && faults < FAULTS -> faults++; listed[x]-- } \
	:: atomic { unlisted[x] > 0 && faults < FAULTS -> faults++; unlisted[x]-- } \
	:: atomic { listed[x] > 0 && faults < FAULTS -> faults++; listed[x]--; stuck[x]++ }

active proctype Provider() {
end:	do
	run_copies(1)
	run_copies(2)
	od
}

/* when nothing moves any more, nothing is left behind */
active proctype Rest() {
	timeout ->
	assert(job == DONE || job == FAILED);
	assert((job == DONE) == (results == 1));
	assert(terminal(1) && (attempts == 1 || terminal(2)));
	assert(!has(1) && !has(2))
}

init { atomic { run Agent(); run Agent() } }
