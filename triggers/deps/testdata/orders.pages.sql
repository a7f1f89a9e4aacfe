-- a customer's orders with lines and products; $3: C007, C042, C091
select o.order_id, o.order_date, o.shipped_date, d.quantity, d.unit_price, p.product_name
from customers c
join orders o using (customer_id) join order_details d using (order_id) join products p using (product_id)
where c.customer_id = $3
order by o.order_date desc, o.order_id, p.product_id;

-- an order's head
select o.*, c.company_name, s.company_name as shipper
from orders o join customers c using (customer_id) left join shippers s on s.shipper_id = o.ship_via
where o.order_id = $1;

-- an order's lines
select d.product_id, p.product_name, d.unit_price, d.quantity, d.discount
from order_details d join products p using (product_id)
where d.order_id = $1
order by d.product_id;

-- an invoice, through a view
select * from invoices where order_id = $1 order by product_id;

-- an order's total, through a view
select o.order_id, o.freight, t.subtotal from orders o left join order_subtotals t using (order_id)
where o.order_id = $1;

-- a product's form
select p.*, c.category_name, s.company_name as supplier
from products p left join categories c using (category_id) left join suppliers s using (supplier_id)
where p.product_id = $1;

-- the products of a category that can be ordered, through a view
select product_id, product_name, unit_price from current_products where category_id = $1
order by product_name, product_id;

-- dear products of a category, through a view
select product_id, product_name, unit_price from products_above_average where category_id = $1
order by unit_price, product_id;

-- a category's products by price, with their rank
select product_id, product_name, unit_price, rank() over (order by unit_price desc)
from products
where category_id = $1 and not discontinued
order by 4, product_id;

-- an employee's territories
select t.territory_id, t.description, r.description as region
from employee_territories et join territories t using (territory_id) join regions r using (region_id)
where et.employee_id = $1
order by t.territory_id;

-- an employee's orders by month
select date_trunc('month', o.order_date) as month, count(*) as orders, sum(o.freight) as freight
from orders o
where o.employee_id = $1
group by 1
order by 1;

-- what is to be ordered of one supplier
select s.company_name, p.product_id, p.product_name, p.units_in_stock, p.units_on_order
from suppliers s join products p using (supplier_id)
where s.supplier_id = $1 and p.units_in_stock + p.units_on_order <= p.reorder_level and not p.discontinued
order by p.product_id;
