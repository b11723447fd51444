-- Which sweeps there are, and since when each is expected: said by the first run, of any sweep, of a release that knows it. Without
-- it a sweep that is new would be told as silent from the deploy on until its first tick, which may be a day away.
create table expected_sweeps (
    sweep text primary key,
    since timestamptz not null default atlas.now()
);

-- what ran before is known by its runs
insert into expected_sweeps (sweep, since) select sweep, min(started_at) from sweep_runs group by sweep;
