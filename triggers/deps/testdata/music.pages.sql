-- an artist's albums
select ar.name, al.album_id, al.title
from artist ar left join album al using (artist_id)
where ar.artist_id = $1
order by al.title, al.album_id;

-- an artist's albums with their length and price, through a view
select album_id, title, tracks, milliseconds, price from album_list where artist_id = $1 order by title, album_id;

-- an album's page
select t.track_id, t.name, t.composer, t.milliseconds, t.unit_price, al.title, ar.name as artist,
	row_number() over (order by t.track_id) as position
from album al join artist ar using (artist_id) join track t using (album_id)
where al.album_id = $1
order by position;

-- a track, through a view
select name, artist, album, genre, milliseconds, unit_price from track_list where track_id = $1;

-- a playlist with its tracks
select p.name as playlist, t.track_id, t.name, t.milliseconds, al.title as album
from playlist p
join playlist_track pt using (playlist_id) join track t using (track_id) join album al using (album_id)
where p.playlist_id = $1
order by t.name, t.track_id;

-- a customer's playlists with the number of tracks
select p.playlist_id, p.name, (select count(*) from playlist_track pt where pt.playlist_id = p.playlist_id) as tracks
from playlist p
where p.customer_id = $1
order by p.name, p.playlist_id;

-- an invoice with its lines
select i.invoice_id, i.invoice_date, i.total, l.invoice_line_id, t.name as track, l.unit_price, l.quantity
from invoice i join invoice_line l using (invoice_id) join track t using (track_id)
where i.invoice_id = $1
order by l.invoice_line_id;

-- a customer's invoices by year, with a running total
with mine as (select invoice_id, invoice_date, total from invoice where customer_id = $1)
select invoice_id, invoice_date, total, sum(total) over (order by invoice_date, invoice_id) as so_far
from mine
order by invoice_date desc, invoice_id desc
limit 24;

-- has a customer bought a track
select exists (
	select from invoice i join invoice_line l using (invoice_id) where i.customer_id = $1 and l.track_id = $2) as bought;

-- tracks of a genre whose name has a word in it; $3: track 1, b, track 2
select track_id, name, artist, unit_price from track_list
where genre_id = $1 and name ilike '%' || $3 || '%'
order by name, track_id
limit 25 offset 0;

-- an agent's customers by what they have spent, through a view
select customer_id, first_name, last_name, invoices, spent from customer_spend
where support_rep_id = $1
order by spent desc, customer_id;

-- who reports to an employee
select e.employee_id, e.first_name, e.last_name, e.title, m.last_name as manager
from employee e join employee m on m.employee_id = e.reports_to
where e.reports_to = $1
order by e.last_name, e.employee_id;

-- sales by genre, all of them
select g.genre_id, g.name, count(*) as sold, sum(l.unit_price * l.quantity) as revenue
from genre g join track t using (genre_id) join invoice_line l using (track_id)
group by g.genre_id
order by revenue desc, g.genre_id;
