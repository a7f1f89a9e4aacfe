-- A music shop.
create table employee (
	employee_id int primary key, last_name text not null, first_name text not null, title text,
	reports_to int references employee, city text, email text
);
create table customer (
	customer_id int primary key, first_name text not null, last_name text not null, company text, city text, country text,
	email text not null, support_rep_id int references employee
);
create table artist (artist_id int primary key, name text not null);
create table album (album_id int primary key, title text not null, artist_id int not null references artist);
create table genre (genre_id int primary key, name text not null);
create table media_type (media_type_id int primary key, name text not null);
create table track (
	track_id int primary key, name text not null, album_id int not null references album on delete cascade,
	media_type_id int not null references media_type, genre_id int references genre, composer text,
	milliseconds int not null, bytes int, unit_price numeric(10,2) not null
);
create table playlist (playlist_id int primary key, name text not null, customer_id int references customer);
create table playlist_track (
	playlist_id int references playlist on delete cascade, track_id int references track on delete cascade,
	primary key (playlist_id, track_id)
);
create table invoice (
	invoice_id int primary key, customer_id int not null references customer, invoice_date date not null,
	billing_city text, billing_country text, total numeric(10,2) not null
);
create table invoice_line (
	invoice_line_id int primary key, invoice_id int not null references invoice on delete cascade,
	track_id int not null references track, unit_price numeric(10,2) not null, quantity int not null
);
create index on album (artist_id);
create index on track (album_id);
create index on invoice (customer_id);
create index on invoice_line (invoice_id);
create index on invoice_line (track_id);

create view track_list as
	select t.track_id, t.name, t.milliseconds, t.unit_price, al.album_id, al.title as album, ar.artist_id,
		ar.name as artist,
		t.genre_id, g.name as genre
	from track t join album al using (album_id) join artist ar using (artist_id) left join genre g using (genre_id);
create view album_list as
	select al.album_id, al.title, al.artist_id, count(t.track_id) as tracks, sum(t.milliseconds) as milliseconds,
		sum(t.unit_price) as price
	from album al left join track t using (album_id) group by al.album_id;
create view customer_spend as
	select c.customer_id, c.first_name, c.last_name, c.country, c.support_rep_id, count(i.invoice_id) as invoices,
		coalesce(sum(i.total), 0) as spent
	from customer c left join invoice i using (customer_id) group by c.customer_id;

insert into employee
	select i, 'last ' || i, 'first ' || i, (array['manager', 'agent', 'clerk'])[1 + i % 3], nullif(i / 4, 0),
		'city ' || i % 3,
		'e' || i || '@music.example'
	from generate_series(1, 30) i;
insert into customer
	select i, 'first ' || i % 40, 'last ' || i, case when i % 3 = 0 then 'company ' || i end, 'city ' || i % 30,
		'country ' || i % 24, 'c' || i || '@mail.example', 1 + i % 30
	from generate_series(1, 120) i;
insert into artist select i, 'artist ' || i from generate_series(1, 80) i;
insert into album select i, 'album ' || i, 1 + i % 80 from generate_series(1, 160) i;
insert into genre select i, 'genre ' || i from generate_series(1, 25) i;
insert into media_type select i, 'type ' || i from generate_series(1, 5) i;
insert into track
	select i, chr(65 + i % 26) || ' track ' || i, 1 + i % 160, 1 + i % 5, nullif(i % 26, 0),
		case when i % 4 > 0 then 'composer ' || i % 50 end, 100000 + i * 997 % 300000, 1000000 + i, 0.99 + i % 2
	from generate_series(1, 900) i;
insert into playlist select i, 'list ' || i, nullif(i * 3, 30) from generate_series(1, 40) i;
insert into playlist_track select distinct 1 + i % 40, 1 + i * 17 % 900 from generate_series(1, 600) i;
insert into invoice
	select i, 1 + i % 120, '2024-01-01'::date + i % 360, 'city ' || i % 30, 'country ' || i % 24, 1 + i % 20
	from generate_series(1, 360) i;
insert into invoice_line select i, 1 + i % 360, 1 + i * 7 % 900, 0.99 + i % 2, 1 + i % 2
	from generate_series(1, 1000) i;
